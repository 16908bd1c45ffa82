"""What the databases say: whole, of this release, nothing deleted left in them, nothing left undone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from capsule_core.checkpoints import open_checkpoint, parse_verifier
from capsule_core.errors import CapsuleError, LedgerBroken
from capsule_core.ledger import audit
from capsule_core.names import micros
from capsule_core.records import GUARDED
from capsule_services.doctor.findings import Finding, gathered, good, mend, note
from capsule_services.doctor.logs import LOGS, Log, newer
from capsule_services.doctor.place import (
    MIRROR,
    MIRRORED,
    File,
    Interrupted,
    Place,
    Premises,
    Unreadable,
    looking,
    overwrites,
)
from capsule_sql import marking
from capsule_sql.guarding import UNGUARDED
from capsule_sql.ledgers import SqlLedger
from capsule_sql.migration import Role

__all__ = ["deletion", "erasures", "integrity", "ledgers", "outboxes", "schemas", "trash"]

_PATIENCE: Final = 2.0
"""Seconds to look at a file whose service runs: its log cannot be emptied meanwhile."""
_MOST_PAGES: Final = 10_000
_UNREADABLE: Final = "it cannot be read as what it should be"


def schemas(place: Place) -> Iterator[Finding]:
    """Every file is there, is ours, and is of the schema of this release."""
    for premises in place.services:
        copies = [copy for _, copy in premises.mirrored if copy.path.exists()]
        yield from gathered(f"schemas of {premises.service}", map(_schema, (*premises.files, *copies)))


def _schema(file: File) -> Finding:
    what = f"schema of {file.name}"
    if not file.path.exists():
        return mend(what, "the file is missing", _missing(file))
    try:
        with looking(file) as look:
            if look.pragma("application_id") != file.role.mark:
                return mend(what, "the file is another one", _anew(file))
            ((revision,),) = look.rows("SELECT version_num FROM alembic_version")
    except (Unreadable, ValueError):
        return mend(what, _UNREADABLE, _anew(file))
    if revision != file.role.newest:
        return mend(
            what, f"{revision}, and this release has {file.role.newest}", "run the release that wrote it, or newer"
        )
    return good(what, revision)


def _anew(file: File) -> str:
    """Say what to do about a file that is damaged: keystore and journal are in no backup."""
    if file.role not in MIRRORED:
        return "stop the service, and restore a backup"
    if file.path.parent.name == MIRROR:
        return "stop the service, and move it aside: a start makes a new one of the file"
    return "stop the service, and put a copy of its mirror in its place: it is in no backup"


def _missing(file: File) -> str:
    """Say what to do about a file that is not there."""
    if file.role not in MIRRORED:
        return "put it back, or stop the service and restore a backup"
    if (file.path.parent / MIRROR / file.path.name).exists():
        return "start the service: it makes it of its mirror"
    without = "without them the data is lost"
    if file.role is Role.JOURNAL:
        without = "without it, capsule backup restore --without-journal"
    return f"its mirror is missing too, and neither is in any backup: put one of the two back; {without}"


def integrity(place: Place) -> Iterator[Finding]:
    """No file is damaged."""
    for premises in place.services:
        hurried = place.runs(premises.service)
        whole = (_whole(file, hurried=hurried) for file in premises.present)
        yield from gathered(f"integrity of {premises.service}", whole)


def _whole(file: File, *, hurried: bool) -> Finding:
    what = f"integrity of {file.name}"
    try:
        with looking(file) as look:
            if hurried:
                look.hurry(_PATIENCE)
            told = look.pragma("quick_check")
    except Interrupted:
        return note(what, "too large to be read while its service runs", "stop the service, and look again")
    except Unreadable:
        return mend(what, _UNREADABLE, _anew(file))
    return good(what, "whole") if told == "ok" else mend(what, "the file is damaged", _anew(file))


def deletion(place: Place) -> Iterator[Finding]:
    """What was deleted is overwritten: by this SQLite, and in every file that holds keys or people."""
    what = "deletion"
    able = overwrites()
    if not able:
        yield mend(what, "this SQLite leaves deleted bytes in its files", "use a build with secure_delete")
    for premises in place.services:
        for file in premises.present:
            left, found = _left(file.path), f"{what} in {file.name}"
            if left and _has_log(file.path):
                yield note(
                    found,
                    "cannot be told: its log holds newer pages than the file",
                    "look again when the service was started and has stopped by itself",
                )
            elif left:
                yield mend(
                    found,
                    f"{left} unused pages still have content",
                    "stop the service, then run VACUUM on the file with secure_delete = ON: something else wrote to it",
                )
    if able:
        yield good(what, "overwrites what it deletes")


def _has_log(path: Path) -> bool:
    """Whether pages wait in the log of a file: a checkpoint that was cut short has copied some of them alone."""
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and log.stat().st_size > 0


def _left(path: Path) -> int:
    """Count the unused pages that are not blank (SQLite file format, section 1.5)."""
    with path.open("rb") as file:
        header = file.read(100)
        size = int.from_bytes(header[16:18], "big")
        size = 65536 if size == 1 else size
        trunk, left, seen = int.from_bytes(header[32:36], "big"), 0, 0
        while trunk and size >= 512 and seen < _MOST_PAGES:
            file.seek((trunk - 1) * size)
            page = file.read(size)
            numbers = [int.from_bytes(page[at : at + 4], "big") for at in range(0, len(page), 4)] or [0, 0]
            trunk, leaves = numbers[0], numbers[2 : 2 + min(numbers[1], size // 4 - 2)]
            seen += 1 + len(leaves)
            for leaf in leaves:
                file.seek((leaf - 1) * size)
                left += any(file.read(size))
        return left


def outboxes(place: Place) -> Iterator[Finding]:
    """Everything that was committed has reached the journal."""
    for premises, file in _data(place):
        what = f"outbox of {premises.service}"
        with looking(file) as look:
            ((waiting,),) = look.rows("SELECT count(*) FROM outbox")
        if waiting and not place.runs(premises.service):
            yield mend(what, f"{waiting} entries did not reach the journal", "start the service: it sends them first")
        else:
            yield good(what, f"{waiting} entries under way" if waiting else "empty")


def erasures(place: Place) -> Iterator[Finding]:
    """Every erasure that was begun was finished."""
    for premises, file in _data(place):
        what = f"erasures of {premises.service}"
        with looking(file) as look:
            begun = len({(tenant, reason.id) for tenant, reason in look.read(marking.unfinished)})
        if begun and not place.runs(premises.service):
            yield mend(what, f"{begun} begun and not finished", "start the service: it finishes them before it serves")
        elif begun:
            yield note(what, f"{begun} under way", "look again in a minute; if they stay, read the service's log")
        else:
            yield good(what, "all finished")


def trash(place: Place) -> Iterator[Finding]:
    """Nothing stays in the trash for two sweeps longer than it should, unless something keeps it."""
    select = f"""SELECT count(*) FROM records r JOIN subjects s ON s.no = r.subject_no
        WHERE r.trashed IS NOT NULL AND r.until <= ? AND (s.anywhere & ?) = 0 AND {UNGUARDED}"""  # noqa: S608  our names
    for premises, file in _data(place):
        what = f"trash of {premises.service}"
        with looking(file) as look:
            ((due,),) = look.rows(select, (micros(place.overdue(premises)), int(GUARDED)))
        if not due:
            yield good(what, "nothing is overdue")
        elif place.runs(premises.service):
            yield mend(what, f"{due} records are overdue", "read the service's log for sweep_postponed")
        else:
            yield mend(what, f"{due} records are overdue", "start the service: it destroys them at once")


def ledgers(place: Place) -> Iterator[Finding]:
    """No leaf was edited, moved, added or removed since the last checkpoint."""
    for premises in place.services:
        for title, role in LOGS.items():
            file = premises.file(role)
            if file is not None and file.path.exists():
                yield _audited(f"log of {title} of {premises.service}", file, Log(premises, title))


def _audited(what: str, file: File, log: Log) -> Finding:
    try:
        with looking(file) as look:
            ledger = SqlLedger(look)
            kept = ledger.latest()
            verifier = (
                parse_verifier((log.premises.folder / "receipts.pub").read_text(encoding="ascii")) if kept else None
            )
            against = newer(log, open_checkpoint(kept, verifier) if kept and verifier else None)
            size = audit(ledger, against).size
    except LedgerBroken:
        return mend(what, "it was altered", "keep the file as evidence, and restore the data from a backup")
    except CapsuleError:
        return mend(
            what, "its checkpoint was not signed by this service", "put back the receipts.pub that belongs to it"
        )
    except Unreadable:
        return mend(what, _UNREADABLE, _anew(file))
    return good(what, f"{size} leaves" + (f", {against.size} of them under a checkpoint" if against else ""))


def _data(place: Place) -> Iterator[tuple[Premises, File]]:
    for premises in place.services:
        file = premises.file(Role.DATA)
        if file is not None and file.path.exists():
            yield premises, file
