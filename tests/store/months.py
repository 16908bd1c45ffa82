"""Thirty months of somebody's address book, decided by a seed, beside a model that knows nothing but the pure function.

People and notes come, are contacted, thrown away, taken back, held and restricted; the policy changes, the clock steps
forth and back, sweeps run to their end or are cut off. After each sweep the store must hold exactly what it should.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from capsule_core.contacts import Entry
from capsule_core.errors import CapsuleError
from capsule_core.moments import Event
from capsule_core.names import RecordId, made_id
from capsule_core.policies import scope_of
from capsule_core.records import Mark, Reason, Shelf, Where
from capsule_core.retaining import Retaining
from capsule_core.retention import Decision, Destroy, Effect, Facts, Policy, decide, keeps
from capsule_core.rulebook import Rulebook
from capsule_core.sweeping import Sweep
from capsule_core.trash import PERIOD
from capsule_core.uses import Use
from capsule_core.witness import bears_witness
from tests.core.desk import ACME, NOON, Desk, person

MONTHS: Final = timedelta(days=915)
_EVERY: Final = ~Mark.NONE
_PERSON = '{"id": "%s", "effect": "%s", "since": "%s", "period": "%s", "kinds": ["person"]}'
_ENTRY = '{"id": "%s", "effect": "%s", "since": "%s", "period": "%s", "kinds": ["entry"]}'
_POLICIES: Final = (
    [],
    [_PERSON % ("leads", "trash", "contacted", "P6M")],
    [_PERSON % ("leads", "trash", "contacted", "P6M"), _ENTRY % ("notes", "destroy", "created", "P3M")],
    [_PERSON % ("old", "destroy", "created", "P14M"), _ENTRY % ("proof", "keep", "created", "P5M")],
    [_PERSON % ("old", "destroy", "updated", "P4M"), _PERSON % ("min", "keep", "created", "P9M")],
    [_ENTRY % ("notes", "trash", "created", "P2M"), _ENTRY % ("binned", "keep", "trashed", "P3M")],
    [_PERSON % ("look", "ask", "created", "P1M"), _ENTRY % ("left", "destroy", "relationship_ended", "P1M")],
)


class CutOff(BaseException):
    """The process ended amid a sweep."""


@attrs.define
class Note:
    """What must be true of a note."""

    created: datetime
    guards: set[str] = attrs.Factory(set)
    trashed: datetime | None = None
    restored: datetime | None = None
    batch: str = ""

    def events(self) -> dict[Event, datetime]:
        own = {Event.CREATED: self.created, Event.UPDATED: self.created}
        moved = {Event.TRASHED: self.trashed, Event.RESTORED: self.restored}
        return own | {event: at for event, at in moved.items() if at is not None}


@attrs.define
class Somebody(Note):
    """What must be true of a person, and of their notes."""

    updated: datetime = NOON
    contacted: datetime = NOON
    notes: dict[str, Note] = attrs.Factory(dict)

    def events(self) -> dict[Event, datetime]:
        return {**super().events(), **self.own()}

    def own(self) -> dict[Event, datetime]:
        return {Event.UPDATED: self.updated, Event.CONTACTED: self.contacted}


@attrs.define
class Months:
    """One history over a desk that *make* makes, again after each process that ended."""

    seed: int
    make: Callable[[], Desk]
    now: datetime = NOON
    people: dict[str, Somebody] = attrs.Factory(dict)
    chance: random.Random = attrs.field(init=False)
    desk: Desk = attrs.field(init=False)
    ops: int = 0
    destroyed: int = 0

    def __attrs_post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311  a seed decides
        self.desk = self.make()

    def live(self) -> None:
        deeds = [self.come, self.come, self.write, self.write, self.call, self.edit, self.throw_away, self.take_back]
        deeds += [self.hold, self.release, self.release, self.change_policy, self.pass_time, self.pass_time, self.sweep]
        end = self.now + MONTHS
        while self.now < end:
            self.ops += 1
            with contextlib.suppress(CapsuleError):
                self.chance.choice(deeds)()
        for someone in self.people.values():
            for each in (someone, *someone.notes.values()):
                each.guards.clear()
        self._release_all()
        self.now += 2 * PERIOD
        self.sweep()

    def _id(self, letter: str) -> str:
        return made_id(letter, now=self.now, randomness=self.chance.randbytes(10))

    def _somebody(self) -> str:
        return self.chance.choice(sorted(self.people) or ["nobody"])

    def _act(self, use: Use = Use.EDIT) -> Any:
        return self.desk.act(now=self.now, use=use)

    def come(self) -> None:
        if len(self.people) < 6:
            name = self._id("c")
            self.desk.add(person(id=name), now=self.now)
            self.people[name] = Somebody(created=self.now, updated=self.now, contacted=self.now)

    def write(self, channel: str = "note") -> None:
        name, entry = self._somebody(), self._id("n")
        at = self.now.isoformat().replace("+00:00", "Z")
        direction = "" if channel == "note" else "out"
        said = Entry(id=entry, contact=name, channel=channel, occurred_at=at, direction=direction, body="Rang.")
        if name in self.people and self.people[name].trashed is None:
            self.desk.add(said, now=self.now)
            self.people[name].notes[entry] = Note(created=self.now)
            if channel == "call":
                self.people[name].contacted = max(self.now, self.people[name].contacted)

    def call(self) -> None:
        self.write("call")

    def edit(self) -> None:
        name = self._somebody()
        self.desk.rename(name, f"about {self.ops}", now=self.now)
        self.people[name].updated = self.now

    def throw_away(self) -> None:
        name = self._somebody()
        someone, batch = self.people.get(name), self._id("b")
        if someone is None:
            return
        target = self.chance.choice([name, *someone.notes])
        kept = self.desk.get(target, use=Use.EDIT)
        self.desk.repository.trash(kept, batch, act=self._act())
        # A hold does not keep anybody from throwing away; a restriction does.
        for each in [someone, *someone.notes.values()] if target == name else [someone.notes[target]]:
            if each.trashed is None and "restricted" not in each.guards:
                each.trashed, each.batch = self.now, batch

    def take_back(self) -> None:
        name = self._somebody()
        someone = self.people.get(name)
        if someone is None:
            return
        target, each = (
            (name, someone) if someone.trashed else self.chance.choice([("", Note(NOON)), *someone.notes.items()])
        )
        if each.trashed is None or self.now >= each.trashed + PERIOD:
            return
        self.desk.repository.restore(self.desk.get(target, use=Use.STORE), act=self._act(Use.STORE))
        together = [someone, *someone.notes.values()] if target == name else [each]
        batch = each.batch
        for other in together:
            if other.batch == batch:
                other.trashed, other.restored, other.batch = None, self.now, ""

    def hold(self) -> None:
        name = self._somebody()
        someone = self.people.get(name)
        if someone is None:
            return
        target = self.chance.choice([name, *someone.notes])
        why = self.chance.choice(["held", "claimed", *(["restricted"] if target == name else [])])
        self._mark(name, target, why, lift=False)
        (someone if target == name else someone.notes[target]).guards.add(why)

    def release(self) -> None:
        for name, someone in self.people.items():
            for target, each in [(name, someone), *someone.notes.items()]:
                if each.guards and self.chance.random() < 0.5:
                    why = self.chance.choice(sorted(each.guards))
                    self._mark(name, target, why, lift=True)
                    each.guards.discard(why)

    def _release_all(self) -> None:
        for name, someone in self.people.items():
            for target in (name, *someone.notes):
                for why in ("held", "claimed", "restricted"):
                    self._mark(name, target, why, lift=True)

    def _mark(self, name: str, target: str, why: str, *, lift: bool) -> None:
        (subject,) = [each.subject for each in self.desk.store.read(ACME, [RecordId(name)], admits=_EVERY) if each]
        mark = Mark.RESTRICTED if why == "restricted" else Mark.HELD
        record = None if target == name else RecordId(target)
        reason = Reason(id=why, mark=mark, subject=subject, since=self.now, record=record)
        act = self._act(Use.STORE)
        self.desk.store.mark([reason], lift=lift, act=attrs.evolve(act, witness=bears_witness(self.desk.vault, act)))

    def change_policy(self) -> None:
        rules = ", ".join(self.chance.choice(_POLICIES))
        Rulebook(self.desk.repository).set(f'{{"rules": [{rules}]}}', act=self._act(Use.ADMINISTER))

    def pass_time(self) -> None:
        step = self.chance.choice((timedelta(hours=1), timedelta(days=3), timedelta(days=12), PERIOD))
        self.now += step + timedelta(microseconds=self.chance.randrange(-1, 2))
        if self.chance.random() < 0.05:
            self.now -= timedelta(days=2)  # the clock is set back, and nothing may be destroyed early by it

    def sweep(self) -> None:
        if self.chance.random() < 0.3:
            self._cut_off()
        self._sweep(self.desk)
        self._expect()
        self._compare()

    def _sweep(self, desk: Desk) -> None:
        book = Rulebook(desk.repository)
        sweep = Sweep(desk.store, desk.eraser, desk.vault, desk.repository.kinds, book.of)
        sweep.run(ACME, now=self.now, new_erasure=lambda: self._id("e"))
        Retaining(desk.repository, desk.eraser, self._id).run(ACME, book.of(ACME), now=self.now)

    def _cut_off(self) -> None:
        """Sweep in a process that ends at some call, and start another over what it left."""
        calls = self.chance.randrange(1, 40)

        def counted() -> None:
            nonlocal calls
            calls -= 1
            if calls == 0:
                raise CutOff

        with contextlib.suppress(CutOff):
            self._sweep(_counting(self.desk, counted))
        self.desk = self.make()
        self.desk.eraser.resume(now=self.now)

    def _expect(self) -> None:
        """Do to the model what a sweep must do: the trash first, then what the policy says, people before notes."""
        policy = Rulebook(self.desk.repository).of(ACME)
        for name, someone in list(self.people.items()):
            if _over(someone, self.now) and not _guarded(someone) and not self._kept(someone, policy):
                self._gone(name)
            else:
                self._clear(someone, policy)
        for name, someone in list(self.people.items()):
            if someone.trashed is None and not someone.guards:
                self._carry_out(name, someone, policy)
        for someone in self.people.values():
            self._carry_out_notes(someone, policy)

    def _clear(self, someone: Somebody, policy: Policy) -> None:
        for note, each in list(someone.notes.items()):
            free = not (each.guards or someone.guards)
            if _over(each, self.now) and free and not keeps(self._facts("entry", each, someone), policy, self.now):
                del someone.notes[note]

    def _carry_out_notes(self, someone: Somebody, policy: Policy) -> None:
        for note, each in list(someone.notes.items()):
            if each.trashed is None and not (each.guards or someone.guards):
                decision = self._decided("entry", each, someone, policy)
                if _does(decision, Effect.DESTROY):
                    del someone.notes[note]
                elif _does(decision, Effect.TRASH):
                    each.trashed, each.batch = self.now, f"by rule {note}"

    def _carry_out(self, name: str, someone: Somebody, policy: Policy) -> None:
        decision = self._decided("person", someone, someone, policy)
        if _does(decision, Effect.DESTROY) and not _guarded(someone):
            self._gone(name)
        elif _does(decision, Effect.TRASH):
            for each in (someone, *someone.notes.values()):
                if each.trashed is None:  # a hold on a note keeps it from being destroyed, not from the trash
                    each.trashed, each.batch = self.now, f"by rule {self.ops}"

    def _gone(self, name: str) -> None:
        self.destroyed += 1
        del self.people[name]

    def _kept(self, someone: Somebody, policy: Policy) -> bool:
        notes = (keeps(self._facts("entry", each, someone), policy, self.now) for each in someone.notes.values())
        return keeps(self._facts("person", someone, someone), policy, self.now) or any(notes)

    def _decided(self, kind: str, each: Note, someone: Somebody, policy: Policy) -> Decision:
        return decide(self._facts(kind, each, someone), policy, self.now)

    def _facts(self, kind: str, each: Note, someone: Somebody) -> Facts:
        events = {**each.events(), Event.CONTACTED: someone.contacted}
        return Facts(scope=scope_of(self.desk.repository.kinds[kind]), events=events)

    def _compare(self) -> None:
        expected = dict(self._expected())
        found = {record.id: record.trash and record.trash.at for record in self._found()}
        early, late = expected.keys() - found.keys(), found.keys() - expected.keys()
        assert not early, f"destroyed early, or against what keeps it: {early}, at {self.now}"
        assert not late, f"should be gone: {late}, at {self.now}"
        assert found == expected, f"in the trash or out of it, at {self.now}"

    def _expected(self) -> Iterator[tuple[str, datetime | None]]:
        for name, someone in self.people.items():
            yield name, someone.trashed
            for note, each in someone.notes.items():
                yield note, each.trashed

    def _found(self) -> list[Any]:
        where = Where(tenant=ACME, kinds=("person", "entry"), shelf=Shelf.ANY)
        return [each for each in self.desk.store.select(where, admits=_EVERY, limit=999).records if each]


def _over(each: Note, now: datetime) -> bool:
    return each.trashed is not None and now >= each.trashed + PERIOD


def _guarded(someone: Somebody) -> bool:
    return bool(someone.guards or any(each.guards for each in someone.notes.values()))


def _does(decision: Decision, effect: Effect) -> bool:
    return isinstance(decision, Destroy) and decision.effect is effect


@attrs.define
class _Counting:
    """A port whose calls are counted before they are done."""

    _part: Any
    _counted: Callable[[], None]

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if not callable(found):
            return found

        def counted(*args: Any, **kwargs: Any) -> Any:
            self._counted()
            return found(*args, **kwargs)

        return counted


def _counting(desk: Desk, counted: Callable[[], None]) -> Desk:
    parts = (_Counting(each, counted) for each in (desk.store, desk.keystore, desk.journal, desk.ledger))
    return Desk(*parts)
