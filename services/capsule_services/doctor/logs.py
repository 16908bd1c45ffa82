"""A log of a service, inspected from its first leaf to its last, against a checkpoint from outside or its own notes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import attrs

from capsule_core.checkpoints import Checkpoint, Verifier, epoch_of, log_names, open_checkpoint, parse_verifier
from capsule_core.epochs import Opening, current_epoch, opening_of
from capsule_core.errors import CapsuleError, ReceiptInvalid
from capsule_core.inspection import Fault, Inspection, Wrong, inspect
from capsule_core.journal import Anchored, decode
from capsule_services.doctor.findings import Finding, Grade, good, mend, unseen
from capsule_services.doctor.place import Place, Premises, Unreadable, looking
from capsule_services.runtime.layout import DATABASE
from capsule_services.runtime.restored import RESTORED
from capsule_services.runtime.signer import PUBLIC
from capsule_sql.evidence import SqlEvidence
from capsule_sql.ledgers import SqlLedger
from capsule_sql.migration import Role
from capsule_sql.postgres import open_postgres

__all__ = ["LOGS", "Log", "Progress", "Verdict", "anchored", "judged", "logs_of", "newer", "outside"]

LOGS: Final = {"changes": Role.DATA, "reads": Role.LEDGER}
"""The two logs of a service, and where each is kept."""

_ANCHORED: Final = b'{"anchored":'
_EVIDENCE: Final = "keep a copy of the database as evidence, restore a backup, and compare again"
_COMPARE: Final = "compare it with a checkpoint from outside: --against FILE --key KEY"

Progress = Callable[[int, int], object]
"""Is told how many leaves were read, of how many."""


@attrs.frozen
class Log:
    """One log of one service: *title* is changes or reads."""

    premises: Premises
    title: str

    @property
    def name(self) -> str:
        """What its checkpoints call it."""
        return log_names(self.premises.service)[list(LOGS).index(self.title)]

    @contextmanager
    def opened(self) -> Generator[Any]:
        """Open where it is, for nothing but reading."""
        role = LOGS[self.title]
        file = self.premises.file(role)
        if file is not None:
            with looking(file) as look:
                yield look
            return
        database = open_postgres((self.premises.folder / DATABASE).read_text(encoding="utf-8").strip(), role)
        try:
            yield database
        finally:
            database.close()


@attrs.frozen(kw_only=True)
class Verdict:
    """What came of one log; *inspection* is None if it could not be looked at, or not be compared."""

    log: Log
    finding: Finding
    inspection: Inspection | None = None


def logs_of(place: Place, service: str | None = None, title: str | None = None) -> list[Log]:
    """Return the logs of a deployment, of one service if it is named, and one of the two if that is."""
    return [
        Log(premises, each)
        for premises in place.services
        for each in LOGS
        if service in {None, premises.service} and title in {None, each}
    ]


def anchored(log: Log) -> list[str]:
    """Return the checkpoints of *log* that lie in its service's journal, as they were signed, the newest last."""
    file = log.premises.file(Role.JOURNAL)
    if file is None or not file.path.exists():
        return []
    select = "SELECT line FROM entries WHERE substr(line, 1, ?) = ? ORDER BY no"
    with looking(file) as look:
        entries = [decode(line) for (line,) in look.rows(select, (len(_ANCHORED), _ANCHORED))]
    return [
        entry.note for entry in entries if isinstance(entry, Anchored) and epoch_of(entry.origin, log.name) is not None
    ]


def outside(log: Log) -> tuple[Checkpoint, Verifier] | None:
    """Return the newest checkpoint of *log* in its service's journal, and the published key that signed it, if any.

    None while a restore waits to be told to the log: until then it may be older than its checkpoints.
    """
    folder = log.premises.folder
    if (folder / RESTORED).exists() or not (folder / PUBLIC).exists():
        return None
    try:
        verifier = parse_verifier((folder / PUBLIC).read_text(encoding="ascii"))
        notes = anchored(log)
    except (CapsuleError, Unreadable, ValueError):
        return None  # other lines tell of these
    for note in reversed(notes):
        with suppress(ReceiptInvalid):
            return open_checkpoint(note, verifier), verifier
    return None


def newer(log: Log, kept: Checkpoint | None) -> Checkpoint | None:
    """Return the newer of the checkpoint that *log* keeps itself and of the newest in the journal."""
    found = outside(log)
    theirs = None if found is None else found[0]
    if kept is None or theirs is None:
        return kept or theirs
    return max(kept, theirs, key=lambda each: (epoch_of(each.origin, log.name) or 0, each.size))


def judged(log: Log, against: Checkpoint | None, verifier: Verifier | None, *, progress: Progress) -> Verdict:
    """Inspect *log*, and say in a sentence what was found and what to do.

    Without *against* it is compared with the newest checkpoint in the journal, if there is one.
    """
    what, given = f"log of {log.title} of {log.premises.service}", against
    try:
        if against is None:
            against, verifier = outside(log) or (None, None)
        with log.opened() as database:
            inspection, opening = _inspected(log, database, against, verifier, progress)
    except Unreadable as error:
        return Verdict(log=log, finding=mend(what, f"it is not what it should be: {error}", _EVIDENCE))
    except Exception as error:  # noqa: BLE001  whatever it is, this log cannot be looked at, and others may
        why = error.strerror if isinstance(error, OSError) else str(error) or type(error).__name__
        do = "look at it with capsule doctor, as the user who runs the services"
        return Verdict(log=log, finding=unseen(what, f"cannot be read: {why}", do))
    if opening is not None and against is not None:
        return Verdict(log=log, finding=unseen(what, _outdated(opening, against), _newer(log, opening)))
    return Verdict(log=log, finding=_finding(what, inspection, given), inspection=inspection)


def _inspected(
    log: Log, database: Any, against: Checkpoint | None, verifier: Verifier | None, progress: Progress
) -> tuple[Inspection, Opening | None]:
    """Inspect; also return where a later epoch began, if a restore lost leaves that *against* speaks of."""
    evidence, openings = SqlEvidence(database), list[Opening]()
    _, _, total = evidence.extent()
    later = against is not None and _later(SqlLedger(database), log, against, verifier)

    def told(start: int, leaves: Sequence[bytes]) -> None:
        if later:
            openings.extend(_openings(start, leaves))
        progress(start + len(leaves), total)

    notes = _older(log, against) if against else []
    inspection = inspect(evidence, against, notes=notes, verifier=verifier, told=told)
    if against is None:
        return inspection, None
    epoch = epoch_of(against.origin, log.name) or 1
    began = next((each for each in openings if each.epoch > epoch), None)
    return inspection, began if began is not None and began.restored < against.size else None


def _openings(start: int, leaves: Sequence[bytes]) -> Iterator[Opening]:
    for number, data in enumerate(leaves, start):
        opening = opening_of(data)
        if opening is not None and opening.restored == number:
            yield opening


def _later(ledger: SqlLedger, log: Log, against: Checkpoint, verifier: Verifier | None) -> bool:
    """Tell whether the log has come to a later epoch than that of *against*, on the word of whoever signed it."""
    kept = ledger.latest()
    if kept is None or verifier is None:
        return False
    try:
        open_checkpoint(kept, verifier)
    except ReceiptInvalid:
        return False
    return current_epoch(ledger, log.name) > (epoch_of(against.origin, log.name) or 1)


def _older(log: Log, against: Checkpoint) -> list[str]:
    """Return the checkpoints of the same epoch that the journal has, by size, up to that of *against*."""
    head = against.origin + "\n"
    sized = {_size(note): note for note in anchored(log) if note.startswith(head)}
    return [sized[size] for size in sorted(sized) if size < against.size]


def _size(note: str) -> int:
    _, _, rest = note.partition("\n")
    size = rest.partition("\n")[0]
    return int(size) if size.isascii() and size.isdecimal() and len(size) < 20 else 0


def _outdated(opening: Opening, against: Checkpoint) -> str:
    told = f"it was restored with {opening.restored} leaves, and the checkpoint speaks of {against.size}: "
    return told + f"what came after leaf {opening.restored} was lost then, and cannot be compared"


def _newer(log: Log, opening: Opening) -> str:
    return f"compare it with a checkpoint of {log.name}/{opening.epoch} or later"


def _finding(what: str, inspection: Inspection, given: Checkpoint | None) -> Finding:
    against, fault = inspection.against, inspection.fault
    if fault is not None:
        return mend(what, _sentence(fault, against), _EVIDENCE if fault.proven else f"{_EVIDENCE}; {_COMPARE}")
    if against is None:
        told = f"{inspection.size} leaves agree with what the log notes of itself: whoever edits both is not found"
        return Finding(Grade.GOOD, what, told, _COMPARE)
    rest = inspection.size - against.size
    more = f"; the {rest} after it agree with the log's own notes" if rest else ""
    if given is None:
        told = f"the first {against.size} leaves are those of the newest checkpoint in the journal{more}"
        return Finding(Grade.GOOD, what, f"{told}; whoever edits the journal too is not found", _COMPARE)
    return good(what, f"the first {against.size} leaves are those of the checkpoint{more}")


def _sentence(fault: Fault, against: Checkpoint | None) -> str:
    first, last = fault.first, fault.last
    place = f"leaf {first}" if first == last else f"one of the leaves {first} to {last}"
    told = {
        Wrong.CHANGED: f"{place} is not what was appended, and none before is wrong",
        Wrong.MISSING: f"leaf {last} is missing",
        Wrong.CUT_OFF: f"it ends before leaf {last}" + (f", and {against.size} were signed for" if against else ""),
        Wrong.NOTES: f"a frontier that it notes at or after leaf {first} was altered or taken out",
    }[fault.wrong]
    if fault.wrong is Wrong.NOTES:
        return f"the leaves are those of the checkpoint, but {told}" if fault.proven else told
    if fault.wrong is not Wrong.CHANGED and first < last:
        told += f"; the first difference lies at or after leaf {first}"
    if fault.suspected is not None:
        low, high = fault.suspected
        told += f"; its own notes, which may be edited too, point to the leaves {low} to {high - 1}"
    return told if fault.proven else f"by its own notes, {told}"
