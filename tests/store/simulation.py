"""A day of many people at one store, in which a seed decides everything: who goes on when, what fails, when it crashes.

One of many threads runs at a time, and hands over at each call of a port. So a run is repeated by its seed, and what
races in the world meets here in every order. What must be true is kept in dictionaries beside it.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from capsule_core.contacts import Person
from capsule_core.errors import CapsuleError, Unavailable
from capsule_core.ledger import audit
from capsule_core.names import RecordId, SubjectKey, made_id
from capsule_core.receipts import Receipt, verify
from capsule_core.records import Act, Mark, Reason, Shelf, Where
from capsule_core.repository import Draft
from capsule_core.trash import PERIOD
from capsule_core.uses import Use
from capsule_core.witness import bears_witness
from tests.core.desk import ACME, NOON, USER, Desk

PEOPLE: Final = 4
WORKERS: Final = 4
_EVERY: Final = ~Mark.NONE
_PLAYED: Final = {
    "read",
    "select",
    "write",
    "move",
    "mark",
    "destroy",
    "subjects",
    "reasons",
    "keep",
    "answered",
    "head",
}


class Crash(BaseException):
    """The process is gone: nobody may catch this."""


class Baton:
    """Whoever has it runs; at each pause it goes to somebody by *chance*."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.crashed = False
        self.failures: list[BaseException] = []
        self._turns: dict[str, threading.Semaphore] = {}
        self._back = threading.Semaphore(0)
        self._inside = threading.local()

    def run(self, jobs: list[Callable[[], None]]) -> None:
        """Let all jobs go on in turns until each has ended, or all have crashed."""
        names = [f"w{number}" for number in range(len(jobs))]
        self._turns = {name: threading.Semaphore(0) for name in names}
        alive = dict(zip(names, jobs, strict=True))
        threads = [threading.Thread(target=self._work, args=(each, alive[each], alive), name=each) for each in names]
        for thread in threads:
            thread.start()
        while alive:
            self._turns[self.chance.choice(sorted(alive))].release()
            self._back.acquire()
        for thread in threads:
            thread.join()
        for failure in self.failures:
            raise failure

    def pause(self) -> None:
        """Hand over, and come back when it is our turn again; not where a lock is held."""
        turn = self._turns.get(threading.current_thread().name)
        if turn is None or getattr(self._inside, "depth", 0):
            return
        self._back.release()
        turn.acquire()
        if self.crashed:
            raise Crash

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        self._inside.depth = getattr(self._inside, "depth", 0) + 1
        try:
            yield
        finally:
            self._inside.depth -= 1

    def _work(self, name: str, job: Callable[[], None], alive: dict[str, Callable[[], None]]) -> None:
        self._turns[name].acquire()
        try:
            if not self.crashed:
                job()
        except Crash:
            pass
        except BaseException as error:  # noqa: BLE001  it is for whoever runs the day
            self.failures.append(error)
        finally:
            del alive[name]
            self._back.release()


class Played:
    """A part whose calls hand over the baton, and seldom fail: before they are done, or after.

    What the vault calls under a lock of its own fails too, but hands over nothing: who waited for the lock would wait
    for ever.
    """

    def __init__(self, part: Any, baton: Baton, trouble: Trouble) -> None:
        self._part, self._baton, self._trouble = part, baton, trouble

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if not callable(found):
            return found

        def played(*args: Any, **kwargs: Any) -> Any:
            if name in _PLAYED:
                self._baton.pause()
            self._trouble.maybe()
            with self._baton.undisturbed():
                result = found(*args, **kwargs)
            self._trouble.maybe()
            return result

        return played


@attrs.define
class Trouble:
    """Fails some calls of a run, and none when it is over."""

    chance: random.Random
    share: float = 0.01

    def maybe(self) -> None:
        if self.share and self.chance.random() < self.share:
            raise Unavailable


@attrs.define
class World:
    """What must be true, as far as anybody was told; *ops* counts what was begun."""

    now: datetime = NOON
    ops: int = 0
    told: dict[int, str] = attrs.Factory(dict)
    newest: dict[str, tuple[int, str]] = attrs.Factory(dict)
    trashed: dict[str, list[datetime]] = attrs.Factory(dict)
    held: dict[str, int] = attrs.Factory(dict)
    erased: dict[str, Receipt] = attrs.Factory(dict)


@attrs.define
class Day:
    """One simulated day over the ports that *make* makes again after each crash."""

    seed: int
    ports: tuple[Any, Any, Any, Any]
    chance: random.Random = attrs.field(init=False)
    world: World = attrs.Factory(World)
    names: tuple[str, ...] = attrs.field(init=False)
    desk: Desk = attrs.field(init=False)
    baton: Baton = attrs.field(init=False)
    trouble: Trouble = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311  a seed decides
        self.names = tuple(made_id("c", now=NOON, randomness=self.chance.randbytes(10)) for _ in range(PEOPLE))
        self.open()

    def open(self) -> None:
        """Start a process over what the last one left."""
        self.baton, self.trouble = Baton(self.chance), Trouble(self.chance)
        self.desk = Desk(*(Played(part, self.baton, self.trouble) for part in self.ports))

    def live(self, rounds: int = 3, each: int = 8) -> None:
        """Work, crash, start again; at the end finish what was begun and look at everything."""
        for number in range(rounds):
            self.baton.run([self._shift(each, crashes=number + 1 < rounds) for _ in range(WORKERS)])
            self.open()
            self.trouble.share = 0
            self.desk.eraser.resume(now=self.world.now)
            self.trouble.share = 0.01
        self.trouble.share = 0
        self._look()

    def _shift(self, count: int, *, crashes: bool) -> Callable[[], None]:
        def work() -> None:
            for _ in range(count):
                if crashes and self.chance.random() < 0.02:
                    self.baton.crashed = True
                    raise Crash
                deed = self.chance.choice(_DEEDS)
                with contextlib.suppress(CapsuleError):
                    deed(self, self.chance.choice(self.names))

        return work

    def act(self, verb: str, use: Use) -> Act:
        self.world.ops += 1
        detail = {"op": str(self.world.ops)}
        return Act(tenant=ACME, actor=USER, verb=verb, use=use.value, at=self.world.now, detail=detail)

    def write(self, name: str) -> None:
        gone = name in self.world.erased
        act = self.act("write", Use.EDIT)
        kept = self.desk.repository.read(ACME, [RecordId(name)], use=Use.EDIT)[0]
        about = f"op {act.detail['op']}"
        if kept is None:
            draft = Draft(Person(id=name, given_name="Ann", about=about))
        else:
            draft = Draft(attrs.evolve(kept.content, about=about), root=kept.root, at=kept.at, over=kept)
        (done,) = self.desk.repository.add([draft], act=act)
        assert not gone, "somebody was written for who had been erased"
        self.world.told[int(act.detail["op"])] = "write"
        self.world.newest[name] = max(self.world.newest.get(name, (0, "")), (done.version, about))

    def trash(self, name: str) -> None:
        act = self.act("trash", Use.EDIT)
        self.world.trashed.setdefault(name, []).append(act.at)
        kept = self.desk.repository.get(ACME, RecordId(name), use=Use.EDIT)
        self.desk.repository.trash(kept, f"b{act.detail['op']}", act=act)
        self.world.told[int(act.detail["op"])] = "trash"

    def restore(self, name: str) -> None:
        act = self.act("restore", Use.EDIT)
        kept = self.desk.repository.get(ACME, RecordId(name), use=Use.EDIT)
        self.desk.repository.restore(kept, act=act)
        self.world.told[int(act.detail["op"])] = "restore"

    def hold(self, name: str) -> None:
        act = self._mark(name, lift=False)
        if act is not None:
            self.world.held[name] = int(act.detail["op"])

    def release(self, name: str) -> None:
        self.world.held.pop(name, None)  # from now on an erasure may come through
        self._mark(name, lift=True)

    def _mark(self, name: str, *, lift: bool) -> Act | None:
        act = self.act("release" if lift else "hold", Use.STORE)
        reason = Reason(id="why", mark=Mark.HELD, subject=SubjectKey(name), since=NOON)
        witnessed = attrs.evolve(act, witness=bears_witness(self.desk.vault, act))
        return act if self.desk.store.mark([reason], lift=lift, act=witnessed) else None

    def erase(self, name: str) -> None:
        kept_by = self.world.held.get(name)
        self.world.ops += 1
        receipt = self.desk.eraser.erase(self.desk.erasure(name, id=f"e{self.world.ops}"), now=self.world.now)
        held = kept_by is not None and self.world.held.get(name) == kept_by
        assert not held, "somebody was erased whom a hold kept"
        self.world.erased[name] = receipt

    def sweep(self, _: str) -> None:
        now = self.world.now
        for receipt in self.desk.sweep(now=now).receipts:
            for subject in receipt.statement.subjects:
                thrown = self.world.trashed.get(subject, [])
                assert any(now >= at + PERIOD for at in thrown), "somebody was destroyed before their time"
                self.world.erased[subject] = receipt

    def wait(self, _: str) -> None:
        self.world.now += timedelta(days=self.chance.choice((1, 10, 30)), microseconds=self.chance.randrange(-1, 2))

    def _look(self) -> None:
        desk, world = self.desk, self.world
        for name in self.names:
            (subject,) = desk.store.subjects(ACME, [SubjectKey(name)])
            where = Where(tenant=ACME, subjects=(SubjectKey(name),), shelf=Shelf.ANY)
            records = desk.store.select(where, admits=_EVERY, limit=99).records
            if subject is not None and subject.marks & Mark.FENCED:
                assert subject.marks & Mark.ERASED, "an erasure was begun and not finished"
            if subject is not None and subject.marks & Mark.ERASED:
                assert not records
                assert not desk.vault.remaining(ACME, [subject.slot])
                continue
            assert name not in world.erased, "somebody is there whose erasure was acknowledged"
            version, about = world.newest.get(name, (0, ""))
            if version:
                (kept,) = desk.repository.open(records)
                assert kept.version >= version, "an acknowledged write was lost"
                assert kept.version > version or kept.content.about == about
        for receipt in world.erased.values():
            assert verify(receipt, desk.signer.verifier) == receipt.statement
        leaves = Counter(int(leaf.detail["op"]) for leaf in desk.leaves() if "op" in leaf.detail)
        assert set(leaves.values()) <= {1}, "an act has more than one leaf"
        assert set(world.told) <= set(leaves), "an acknowledged act has no leaf"
        assert audit(desk.ledger) == desk.ledger.head()


_DEEDS: Final = (
    Day.write,
    Day.write,
    Day.write,
    Day.trash,
    Day.restore,
    Day.hold,
    Day.release,
    Day.erase,
    Day.sweep,
    Day.wait,
)
