"""Die at every step there is, and tell what the next process finds: ``crashes.py SCENARIO APART FOLDER [SOCKET NAME]``.

A process of its own, because only one that never started a thread may fork. For each step, or for steps that lie some
number *apart*, a child opens a copy of the same files, works, and kills itself there; a second child opens what is
left, goes on, and says in one line of JSON what it found. The last line is of the child that came through. With the
folder of a server's socket and the name of a database on it, the data is there, and each child has a copy of that too.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import psycopg

from capsule_core.closing import GRACE
from capsule_core.closure import Closure
from capsule_core.contacts import Email, Person
from capsule_core.custody import Custody
from capsule_core.dissolution import Dissolution
from capsule_core.errors import SubjectHeld, TenantClosed
from capsule_core.holds import Ground, Hold
from capsule_core.journal import Marked, Written
from capsule_core.keeping import obligations
from capsule_core.ledger import audit
from capsule_core.names import RecordId, SubjectKey
from capsule_core.protection import EVERYBODY, guarding
from capsule_core.receipts import verify
from capsule_core.records import Mark, Sealed, Shelf, Where
from capsule_core.remnants import remnant_of
from capsule_core.restoring import Replayed, is_behind, replay
from capsule_core.rulebook import Rulebook
from capsule_core.stores import EVERYONE
from capsule_core.sweeping import Swept
from capsule_core.uses import Use
from capsule_core.witness import bears_witness
from capsule_sql.database import open_database
from capsule_sql.journals import SqlJournal
from capsule_sql.keystores import SqlKeystore
from capsule_sql.ledgers import SqlLedger
from capsule_sql.migration import Role
from capsule_sql.postgres import open_postgres
from capsule_sql.records import SqlStore
from tests.core.desk import ACME, NOON, Desk, asked, invoice, note, person
from tests.postgres import ADMIN, APP

ROWS, BATCH = 600, 200
OVER = NOON + GRACE + timedelta.resolution
KEEPS = '{"rules": [{"id": "all", "effect": "keep", "since": "created", "period": "P30Y"}]}'
FILES = {"keys": Role.KEYSTORE, "keys2": Role.KEYSTORE, "log": Role.JOURNAL, "log2": Role.JOURNAL}
ANN, BO, CY, DI = ("c" + letter * 26 for letter in "abcd")


@attrs.define
class Steps:
    """Counts what is done, and ends the process at the step *last*; never, if it is 0."""

    last: int = 0
    taken: int = 0

    def step(self) -> None:
        self.taken += 1
        if self.taken == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, part: Any, *methods: str) -> Any:
        return Stepping(part, self, methods)


class Stepping:
    """Any part, with a step before and after each call of its methods, or of those that are named."""

    def __init__(self, part: Any, steps: Steps, methods: tuple[str, ...]) -> None:
        self._part, self._steps, self._methods = part, steps, methods

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if not callable(found) or (self._methods and name not in self._methods):
            return found

        def stepping(*args: Any, **kwargs: Any) -> Any:
            self._steps.step()
            result = found(*args, **kwargs)
            self._steps.step()
            return result

        return stepping


@attrs.frozen
class Place:
    """Where everything is: in files of *folder*, or the data in the database *name* of the server at *socket*."""

    folder: Path
    socket: str = ""
    name: str = ""

    def url(self, name: str, user: str) -> str:
        return f"postgresql://{user}@/{name}?host={self.socket}"

    def data(self) -> Any:
        if not self.socket:
            return open_database(self.folder / "data", Role.DATA)
        return open_postgres(self.url(self.name, APP), Role.DATA)

    def copied(self, to: Path) -> Place:
        shutil.copytree(self.folder, to)
        if self.socket:
            self._run(f"CREATE DATABASE {to.name} TEMPLATE {self.name} STRATEGY file_copy")
        return Place(to, self.socket, to.name)

    def keep_data(self) -> None:
        """Back the data up, and nothing else."""
        if self.socket:
            self._run(f"CREATE DATABASE {self.name}_old TEMPLATE {self.name} STRATEGY file_copy")
        else:
            shutil.copy(self.folder / "data", self.folder / "data.old")

    def put_data_back(self) -> None:
        if self.socket:
            self._run(f"DROP DATABASE {self.name} WITH (FORCE)")
            self._run(f"ALTER DATABASE {self.name}_old RENAME TO {self.name}")
        else:
            (self.folder / "data.old").replace(self.folder / "data")

    def remove(self) -> None:
        shutil.rmtree(self.folder)
        if self.socket:
            self._run(f"DROP DATABASE {self.name} WITH (FORCE)")

    def _run(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres", ADMIN), autocommit=True) as admin:
            admin.execute(statement)


def opened(place: Place, steps: Steps) -> tuple[Desk, list[Any]]:
    """Open everything, with a step around every call of a port and every commit of a file or database."""
    files = [open_database(place.folder / name, role) for name, role in FILES.items()]
    databases = [place.data(), *files]
    data, keys, keys2, log, log2 = (steps.around(each, "write", "checkpoint") for each in databases)
    journal = steps.around(SqlJournal(log, log2))
    keystore = steps.around(SqlKeystore(keys, bytes(range(32)), os.urandom, keys2))
    store, ledger = steps.around(SqlStore(data, journal)), steps.around(SqlLedger(data))
    return Desk(store, keystore, journal, ledger), databases


def prepare_people(desk: Desk) -> None:
    desk.add(
        person("Ann", id=ANN, email="ann@example.org"),
        *(note(ANN) for _ in range(3)),
        person("Bo", id=BO),
        person("Di", id=DI),
    )


def erase(desk: Desk) -> None:
    desk.forget(ANN, id="e1")


def finish_erasing(desk: Desk) -> dict[str, Any]:
    """Resume as a starting service does, then ask for the same erasure again, twice."""
    begun = desk.store.subjects(ACME, [SubjectKey(ANN)])[0]
    resumed = desk.eraser.resume(now=NOON)
    after = desk.store.subjects(ACME, [SubjectKey(ANN)])[0]
    assert begun is not None
    assert after is not None
    receipt = desk.eraser.receipt(ACME, "e1", now=NOON)
    readable = not begun.marks and desk.get(ANN).content.given_name == "Ann"
    known_again = is_refused(desk)
    first, second = desk.forget(ANN, id="e1"), desk.forget(ANN, id="e1")
    verify(first, desk.signer.verifier.text())
    gone = desk.store.select(
        Where(tenant=ACME, subjects=(SubjectKey(ANN),), shelf=Shelf.ANY), admits=~Mark.NONE, limit=9
    )
    return {
        "begun": bool(begun.marks),
        "untouched": readable,
        "suppressed by resuming": known_again,
        "suppressed": is_refused(desk),
        "erased by resuming": bool(after.marks & Mark.ERASED),
        "resumed": len(resumed),
        "receipt after resuming": receipt is not None,
        "same receipt": first == second,
        "destroyed": dict(first.statement.destructions[0].records),
        "deleted": [leaf.records for leaf in desk.leaves() if leaf.act == "erasure.delete"],
        "acts": [leaf.act for leaf in desk.leaves()],
        "records left": len(gone.records),
        "keys left": len(desk.vault.remaining(ACME, [after.slot])),
        "others": desk.get(BO).content.given_name,
        "whole": audit(desk.ledger) == desk.ledger.head(),
        "in the journal": [
            int(reason.mark) for _, entry in desk.journal.since(0) for reason in getattr(entry, "reasons", ())
        ],
    }


def is_refused(desk: Desk) -> bool:
    """Tell whether Ann would be refused if she came back."""
    again = [person("Ann", email="ANN+again@example.org")]
    return desk.repository.identifiers.suppressed(desk.store, ACME, again) == ["emails[0].address"]


HELD, BILL = "e" + "h" * 26, "i" + "b" * 26


def prepare_what_is_kept(desk: Desk) -> None:
    desk.add(person("Ann", id=ANN), note(ANN, id=HELD), note(ANN), attrs.evolve(invoice(ANN), id=BILL))
    desk.hold(desk.get(HELD))


def erase_in_part(desk: Desk) -> None:
    desk.eraser.erase(desk.erasure(ANN, id="e1", parts=True), now=NOON)


def finish_keeping(desk: Desk) -> dict[str, Any]:
    """Erase again, then let go what was kept, as far as a crash has not."""
    desk.eraser.resume(now=NOON)
    erase_in_part(desk)
    receipt = desk.eraser.receipt(ACME, "e1", now=NOON)
    assert receipt is not None
    kept = [desk.get(name, use=Use.LEGAL_CLAIM).content for name in (HELD, BILL)]
    remnant = remnant_of(SubjectKey(ANN))
    person_, rest = desk.store.subjects(ACME, [SubjectKey(ANN), remnant])
    early = desk.sweep(now=NOON)
    desk.hold(desk.get(HELD, use=Use.LEGAL_CLAIM), lift=True)
    still = desk.sweep(now=NOON)
    ended = obligations(desk.store, ACME, SubjectKey(ANN))
    act = desk.act(use=Use.ADMINISTER)
    desk.store.mark(ended, lift=True, act=attrs.evolve(act, witness=bears_witness(desk.vault, act)))
    last = desk.sweep(now=NOON)
    return {
        "kept": [type(each).__name__ for each in kept],
        "marks": [int(person_.marks), int(rest.marks)] if person_ and rest else [],
        "told": [[each.what, each.ground, each.records] for each in receipt.statement.remaining],
        "destroyed": dict(receipt.statement.destructions[0].records),
        "keys left": len(desk.vault.remaining(ACME, [person_.slot])) if person_ else -1,
        "swept": [len(each.receipts) for each in (early, still, last)],
        "records left": len(desk.store.select(Where(tenant=ACME, shelf=Shelf.ANY), admits=~Mark.NONE, limit=9).records),
        "whole": audit(desk.ledger) == desk.ledger.head(),
    }


def place_hold(desk: Desk) -> None:
    """Hold the whole tenant; sent again, it is the same request."""
    said = Hold(id="h1", ground=Ground.ARCHIVING, authority="the archivist", placed_at="", placed_by="user/u1")
    Custody(desk.repository).place(said, act=desk.act(use=Use.ADMINISTER), request=asked("hold"))


def finish_holding(desk: Desk) -> dict[str, Any]:
    """Look what there is, place the hold again, and release it in the end."""
    guarded, (record,) = (
        bool(guarding(desk.store, ACME, [EVERYBODY])),
        desk.store.read(ACME, [RecordId("h1")], admits=~Mark.NONE),
    )
    place_hold(desk)
    once = [reason.id for reason in desk.store.reasons(ACME, [EVERYBODY])] == ["h1"]
    try:
        refused = desk.erase(ANN) is None
    except SubjectHeld:
        refused = True
    entries = [entry for _, entry in desk.journal.since(0) if isinstance(entry, Marked | Written)]
    custody = Custody(desk.repository)
    custody.release(RecordId("h1"), act=desk.act(use=Use.ADMINISTER))
    past = custody.listing(ACME, use=Use.ADMINISTER, limit=9, past=True).records
    return {
        "guarded": guarded,
        "on record": record is not None,
        "once": once,
        "refused": refused,
        "in the journal": sorted(type(entry).__name__ for entry in entries),
        "released": [kept.id for kept in past if kept.content.released_at],
        "erased": desk.erase(ANN) is not None,
        "whole": audit(desk.ledger) == desk.ledger.head(),
    }


def batches() -> Iterator[list[Person]]:
    for start in range(0, ROWS, BATCH):
        yield [
            Person(id=f"c{number:026d}", given_name=f"P{number}", emails=(Email(f"p{number}@example.org"),))
            for number in range(start, start + BATCH)
        ]


def import_rows(desk: Desk) -> None:
    """Keep what is not known yet, batch by batch, as the import does."""
    for batch in batches():
        known = desk.store.subjects(ACME, [SubjectKey(each.id) for each in batch])
        fresh = [each for each, subject in zip(batch, known, strict=True) if subject is None]
        if fresh:
            desk.add(*fresh)


def finish_importing(desk: Desk) -> dict[str, Any]:
    before = [leaf.records for leaf in desk.leaves()]
    import_rows(desk)
    import_rows(desk)
    names = [each.id for batch in batches() for each in batch]
    records = desk.store.read(ACME, names, admits=Mark.NONE)
    whole = [record for record in records if isinstance(record, Sealed)]
    return {
        "before": before,
        "leaves": [leaf.records for leaf in desk.leaves()],
        "rows": len(whole),
        "all": len(desk.store.select(Where(tenant=ACME), admits=Mark.NONE, limit=2 * ROWS).records),
        "readable": len(desk.repository.open(whole)),
        "versions": sorted({record.version for record in whole}),
        "slots": len({record.slot for record in whole}),
        "whole": audit(desk.ledger) == desk.ledger.head(),
    }


def live_on(desk: Desk) -> None:
    """Do after the backup what the data will have lost."""
    erase(desk)
    desk.mark(BO, Mark.HELD)
    desk.add(person("Cy", id=CY, email="cy@example.org"))
    desk.mark(CY, Mark.OBJECTED)
    desk.eraser._fence(desk.erasure(DI, id="e2"), now=NOON, expects=())


def restore(desk: Desk) -> None:
    replay(desk.store, desk.vault, desk.journal, since=desk.store.position(), now=NOON)


def finish_restoring(desk: Desk) -> dict[str, Any]:
    """Replay as a starting service does, then again from the beginning."""
    behind = is_behind(desk.store, desk.journal)
    restore(desk)
    size = desk.ledger.head().size
    again = replay(desk.store, desk.vault, desk.journal, since=0, now=NOON)
    people = desk.store.subjects(ACME, [SubjectKey(each) for each in (ANN, BO, CY, DI)])
    gone = Where(tenant=ACME, subjects=(SubjectKey(ANN),), shelf=Shelf.ANY)
    ann = people[0]
    assert ann is not None
    return {
        "was behind": behind,
        "is behind": is_behind(desk.store, desk.journal),
        "marks": [each and int(each.marks) for each in people],
        "rows of the erased": len(desk.store.select(gone, admits=~Mark.NONE, limit=9).records),
        "keys of the erased": len(desk.vault.remaining(ACME, [ann.slot])),
        "others": desk.get(BO).content.given_name,
        "again": again == Replayed() and desk.ledger.head().size == size,
        "finished": [receipt.statement.ground for receipt in desk.eraser.resume(now=NOON)],
        "whole": audit(desk.ledger) == desk.ledger.head(),
        "in the journal": sum(isinstance(entry, Marked) for _, entry in desk.journal.since(0)),
    }


def prepare_closing(desk: Desk) -> None:
    """Everything that a tenant can leave: somebody in the trash, somebody who may not come back, a policy, a hold."""
    prepare_people(desk)
    desk.trash(BO)
    desk.add(person("Cy", id=CY, email="ann@example.org"))
    desk.forget(CY, id="e1")
    Rulebook(desk.repository).set(KEEPS, act=desk.act(use=Use.ADMINISTER))
    place_hold(desk)
    Custody(desk.repository).release(RecordId("h1"), act=desk.act(use=Use.ADMINISTER))
    Closure(desk.repository).close(act=desk.act(use=Use.ADMINISTER))


def dissolve(desk: Desk) -> list[Swept]:
    duty = Dissolution(desk.repository, desk.eraser, os.urandom)
    return [each for tenant in duty.waiting(OVER, EVERYONE) for each in duty.slices(tenant, now=OVER)]


def finish_closing(desk: Desk) -> dict[str, Any]:
    begun = "closure.begin" in {leaf.act for leaf in desk.leaves()}
    with contextlib.suppress(TenantClosed):  # or there is its secret: never is it lost
        desk.vault.tenant(ACME)
    try:
        Closure(desk.repository).reopen(act=desk.act(use=Use.ADMINISTER, verb="reopen"), decided=True)
        reopened = True
        Closure(desk.repository).close(act=desk.act(use=Use.ADMINISTER, verb="close"), at=NOON + timedelta.resolution)
    except TenantClosed:
        reopened = False
    dissolve(desk)
    again = dissolve(desk)
    try:
        desk.add(person("Late"))
    except TenantClosed:
        late = False
    else:
        late = True
    acts = [leaf.act for leaf in desk.leaves()]
    people = desk.store.subjects(ACME, [SubjectKey(each) for each in (ANN, BO, DI)])
    return {
        "begun": begun,
        "reopened": reopened,
        "again": len(again),
        "late": late,
        "acts": sorted(
            act for act in acts[acts.index("erasure.commit") + 1 :] if act.startswith(("closure.", "erasure."))
        ),
        "erased": [bool(each and each.marks & Mark.ERASED) for each in people],
        "records left": desk.store.count(Where(tenant=ACME, shelf=Shelf.ANY), admits=~Mark.NONE),
        "remembered": len(desk.store.remembered(ACME, limit=9)),
        "keys left": desk.keystore.get(ACME, range(1, 9)) != [None] * 8,
        "whole": audit(desk.ledger) == desk.ledger.head(),
    }


SCENARIOS: dict[str, tuple[Callable[[Desk], None], Callable[[Desk], None], Callable[[Desk], dict[str, Any]]]] = {
    "erasure": (prepare_people, erase, finish_erasing),
    "keeping": (prepare_what_is_kept, erase_in_part, finish_keeping),
    "holding": (prepare_people, place_hold, finish_holding),
    "closing": (prepare_closing, dissolve, finish_closing),
    "import": (lambda _: None, import_rows, finish_importing),
    "restore": (prepare_people, restore, finish_restoring),
}
LOST = {"restore": live_on}
"""What is done after a backup of the data, which is then put back."""


def forked(work: Callable[[], Any]) -> int:
    """Do *work* in a child; return 0, or the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            work()
            sys.stdout.flush()
            os._exit(0)
        finally:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    assert os.WEXITSTATUS(status) == 0, "a child failed"
    return 0


def worked(place: Place, steps: Steps, work: Callable[[Desk], Any]) -> Any:
    desk, databases = opened(place, steps)
    steps.taken = 0
    found = work(desk)
    for database in databases:
        database.close()
    return found


def main(scenario: str, apart: int, folder: Path, socket: str = "", name: str = "") -> None:
    prepare, work, finish = SCENARIOS[scenario]
    original = Place(folder / "original", socket, name)
    original.folder.mkdir()
    assert forked(lambda: worked(original, Steps(), prepare)) == 0
    if scenario in LOST:
        original.keep_data()
        assert forked(lambda: worked(original, Steps(), LOST[scenario])) == 0
        original.put_data_back()
    for last in count(1, apart):
        copy = original.copied(folder / f"{name}copy")
        ended = forked(lambda copy=copy, last=last: worked(copy, Steps(last), work))

        told = {"step": last, "killed": ended, **worked(copy, Steps(), finish)}
        print(json.dumps(told), flush=True)  # or the next child would say it once more
        copy.remove()
        if ended == 0:
            return


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:])
