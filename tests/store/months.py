"""Thirty months of somebody's address book, decided by a seed, beside a model that knows nothing but the pure function.

People and notes come, are contacted, thrown away, taken back, held and restricted; the policy changes, the clock steps
forth and back, sweeps run to their end or are cut off; the account is closed, reopened, held, destroyed, and then
somebody begins anew under another id. After each sweep the store must hold exactly what it should.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import attrs
import pytest

from capsule_core.closing import GRACE, closed, is_closed
from capsule_core.closure import Closure
from capsule_core.contacts import Entry
from capsule_core.custody import Custody
from capsule_core.dissolution import Dissolution
from capsule_core.errors import CapsuleError, ResourceMissing, TenantClosed
from capsule_core.holds import Ground, Hold
from capsule_core.names import RecordId, TenantId, made_id
from capsule_core.records import Act, Mark, Reason, Shelf, Where
from capsule_core.retaining import Retaining
from capsule_core.retention import NO_RULES, Policy
from capsule_core.rulebook import Rulebook
from capsule_core.stores import EVERYONE
from capsule_core.sweeping import Sweep
from capsule_core.trash import PERIOD
from capsule_core.uses import Use
from capsule_core.witness import bears_witness
from tests.core.desk import NOON, Desk, person
from tests.store.book import Book, Closed, Note, Somebody
from tests.store.cutoffs import CutOff, ending_at

__all__ = ["Months"]

MONTHS: Final = timedelta(days=915)
_EVERY: Final = ~Mark.NONE
_TICK: Final = timedelta.resolution
_PERSON = '{"id": "%s", "effect": "%s", "since": "%s", "period": "%s", "kinds": ["person"]}'
_ENTRY = '{"id": "%s", "effect": "%s", "since": "%s", "period": "%s", "kinds": ["entry"]}'
_POLICIES: Final[tuple[list[str], ...]] = (
    [],
    [_PERSON % ("leads", "trash", "contacted", "P6M")],
    [_PERSON % ("leads", "trash", "contacted", "P6M"), _ENTRY % ("notes", "destroy", "created", "P3M")],
    [_PERSON % ("old", "destroy", "created", "P14M"), _ENTRY % ("proof", "keep", "created", "P5M")],
    [_PERSON % ("old", "destroy", "updated", "P4M"), _PERSON % ("min", "keep", "created", "P9M")],
    [_ENTRY % ("notes", "trash", "created", "P2M"), _ENTRY % ("binned", "keep", "trashed", "P3M")],
    [_PERSON % ("look", "ask", "created", "P1M"), _ENTRY % ("left", "destroy", "relationship_ended", "P1M")],
    [_PERSON % ("soon", "trash", "tenant_closed", "P3D"), _ENTRY % ("now", "destroy", "tenant_closed", "P7D")],
    [_PERSON % ("soon", "destroy", "tenant_closed", "P5D"), _ENTRY % ("proof", "keep", "tenant_closed", "P2M")],
)


@attrs.define
class Months:
    """One history over a desk that *make* makes, again after each process that ended."""

    seed: int
    make: Callable[[], Desk]
    now: datetime = NOON
    book: Book = attrs.field(init=False)
    chance: random.Random = attrs.field(init=False)
    desk: Desk = attrs.field(init=False)
    lives: list[TenantId] = attrs.field(factory=lambda: [TenantId("life0")], init=False)
    ops: int = 0
    seen: Counter[str] = attrs.field(factory=Counter, init=False)
    """How often what these histories are about came to pass."""

    def __attrs_post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311  a seed decides
        self.desk = self.make()
        self.book = Book(self.desk.repository.kinds)

    @property
    def tenant(self) -> TenantId:
        return self.lives[-1]

    def live(self) -> None:
        deeds = [self.come, self.come, self.write, self.write, self.call, self.edit, self.throw_away, self.take_back]
        deeds += [self.hold, self.release, self.release, self.change_policy, self.pass_time, self.pass_time]
        strict = [self.sweep, self.close, self.reopen, self.reopen_late, self.hold_all, self.release_all]
        end = self.now + MONTHS
        while self.now < end:
            self.ops += 1
            deed = self.chance.choice([*deeds, *strict])
            with contextlib.suppress(*([] if deed in strict else [CapsuleError])):
                deed()
        self._end()

    def _end(self) -> None:
        """Let everything go: by the clock of the trash, and then with the account."""
        self._release_everything()
        self.now += 2 * PERIOD
        self.sweep()
        self.shut()
        life = self.tenant
        self.now += 2 * GRACE
        self.sweep()
        assert self.tenant != life, "nothing is left to wait for, and it has not ended"
        for each in self.lives[:-1]:
            self._gone_for_good(each)

    def _id(self, letter: str) -> str:
        return made_id(letter, now=self.now, randomness=self.chance.randbytes(10))

    def _somebody(self) -> str:
        return self.chance.choice(sorted(self.book.people) or ["nobody"])

    def _act(self, use: Use = Use.EDIT) -> Act:
        return self.desk.act(self.tenant, now=self.now, use=use)

    def come(self) -> None:
        if len(self.book.people) < 6:
            name = self._id("c")
            self.desk.add(person(id=name), tenant=self.tenant, now=self.now)
            self.book.people[name] = Somebody.come(self.now)

    def write(self, channel: str = "note") -> None:
        name, entry = self._somebody(), self._id("n")
        someone = self.book.people.get(name)
        at = self.now.isoformat().replace("+00:00", "Z")
        direction = "" if channel == "note" else "out"
        said = Entry(id=entry, contact=name, channel=channel, occurred_at=at, direction=direction, body="Rang.")
        if someone is not None and someone.trashed is None:
            self.desk.add(said, tenant=self.tenant, now=self.now)
            someone.notes[entry] = Note(created=self.now)
            if channel == "call":
                someone.contacted = max(self.now, someone.contacted)

    def call(self) -> None:
        self.write("call")

    def edit(self) -> None:
        name = self._somebody()
        self.desk.rename(name, f"about {self.ops}", tenant=self.tenant, now=self.now)
        self.book.people[name].updated = self.now

    def throw_away(self) -> None:
        name = self._somebody()
        someone, batch = self.book.people.get(name), self._id("b")
        if someone is None:
            return
        target = self.chance.choice([name, *someone.notes])
        kept = self.desk.get(target, tenant=self.tenant, use=Use.EDIT)
        self.desk.repository.trash(kept, batch, act=self._act())
        # A hold does not keep anybody from throwing away; a restriction does.
        for each in [someone, *someone.notes.values()] if target == name else [someone.notes[target]]:
            if each.trashed is None and "restricted" not in each.guards:
                each.trashed, each.batch = self.now, batch

    def take_back(self) -> None:
        name = self._somebody()
        someone = self.book.people.get(name)
        if someone is None:
            return
        target, each = (
            (name, someone) if someone.trashed else self.chance.choice([("", Note(NOON)), *someone.notes.items()])
        )
        if each.trashed is None or each.is_over(self.now):
            return
        kept = self.desk.get(target, tenant=self.tenant, use=Use.STORE)
        self.desk.repository.restore(kept, act=self._act(Use.STORE))
        batch = each.batch
        for other in [someone, *someone.notes.values()] if target == name else [each]:
            if other.batch == batch:
                other.trashed, other.restored, other.batch = None, self.now, ""

    def hold(self) -> None:
        if found := list(self.book.everything()):
            name, target, each = self.chance.choice(found)
            why = self.chance.choice(["held", "claimed", *(["restricted"] if target == name else [])])
            self._mark(name, target, why, lift=False)
            each.guards.add(why)

    def release(self) -> None:
        for name, target, each in self.book.everything():
            if each.guards and self.chance.random() < 0.5:
                why = self.chance.choice(sorted(each.guards))
                self._mark(name, target, why, lift=True)
                each.guards.discard(why)

    def _release_everything(self) -> None:
        for name, target, each in self.book.everything():
            for why in sorted(each.guards):
                self._mark(name, target, why, lift=True)
            each.guards.clear()
        self.release_all()

    def _mark(self, name: str, target: str, why: str, *, lift: bool) -> None:
        (found,) = self.desk.store.read(self.tenant, [RecordId(target)], admits=_EVERY)
        mark = Mark.RESTRICTED if why == "restricted" else Mark.HELD
        record = None if target == name else RecordId(target)
        reason = Reason(id=why, mark=mark, subject=found.subject, since=self.now, record=record)
        act = self._act(Use.STORE)
        self.desk.store.mark([reason], lift=lift, act=attrs.evolve(act, witness=bears_witness(self.desk.vault, act)))

    def hold_all(self) -> None:
        """Put a hold on the whole tenant."""
        if self.chance.random() < 0.2:
            hold = Hold(id=self._id("h"), ground=Ground.LEGAL_CLAIMS, authority="a court", placed_at="", placed_by="u1")
            Custody(self.desk.repository).place(hold, act=self._act(Use.ADMINISTER))
            self.book.holds.add(hold.id)

    def release_all(self) -> None:
        for hold in sorted(self.book.holds):
            Custody(self.desk.repository).release(RecordId(hold), act=self._act(Use.ADMINISTER))
        self.book.holds.clear()

    def close(self) -> None:
        if self.chance.random() < 0.2:
            self.shut()

    def shut(self) -> None:
        Closure(self.desk.repository).close(act=self._act(Use.ADMINISTER))
        self.book.close(self.now)

    def reopen(self, *, decided: bool = False) -> None:
        """Reopen in time, or be told that it is too late; *decided* elsewhere, it is as long as nothing was begun."""
        closing = self.book.closing
        try:
            Closure(self.desk.repository).reopen(act=self._act(Use.ADMINISTER), decided=decided)
        except ResourceMissing:
            assert closing is None, "what was closed is said never to have been"
        except TenantClosed:
            assert closing is not None
            assert self.book.since, "what is open is said to be closed"
            assert decided or not self.book.may_reopen(self.now), f"could not be reopened in time, at {self.now}"
            self.seen["too late"] += 1
        else:
            assert closing is not None, "what never was closed was reopened"
            if self.book.since:
                assert not closing.begun, f"reopened amid being destroyed, at {self.now}"
                assert decided or self.book.may_reopen(self.now), f"reopened too late, at {self.now}"
                closing.back = True
                self.seen["reopened"] += 1
                self._compare()

    def reopen_late(self) -> None:
        """Let the process end while it carries a closing out, and then hear that it had been taken back in time."""
        if not self.book.is_due(self.now) or self.chance.random() < 0.5:
            return
        policy = self._policy()
        self._sweep_rules(self.desk)
        self.book.sweep(policy, self.now)
        self._compare()
        self._cut_off(self._dissolve, 12)
        if self._has_ended():
            with pytest.raises(TenantClosed):
                Closure(self.desk.repository).reopen(act=self._act(Use.ADMINISTER), decided=True)
        else:
            self.reopen(decided=True)
        if self.book.since:  # then it had begun, and nothing leads back
            self._whole(policy)

    def change_policy(self) -> None:
        rules = ", ".join(self.chance.choice(_POLICIES))
        Rulebook(self.desk.repository).set(f'{{"rules": [{rules}]}}', act=self._act(Use.ADMINISTER))

    def pass_time(self) -> None:
        step = self.chance.choice((timedelta(hours=1), timedelta(days=3), timedelta(days=12), PERIOD))
        self.now += step + self.chance.randrange(-1, 2) * _TICK
        if self.chance.random() < 0.05:
            self.now -= timedelta(days=2)  # the clock is set back, and nothing may be destroyed early by it
        closing = self.book.closing
        if self.book.since and closing and self.now < closing.over and self.chance.random() < 0.5:
            self.now = closing.over + self.chance.randrange(-1, 2) * _TICK  # on the very moment, or beside it

    def sweep(self) -> None:
        policy = self._policy()  # as it is before: it goes with the account
        if self.chance.random() < 0.3:
            self._cut_off(self._sweep, 150 if self.book.is_due(self.now) else 40)
        self._whole(policy)

    def _whole(self, policy: Policy) -> None:
        self._sweep(self.desk)
        self.book.sweep(policy, self.now)
        if self.book.dissolve(self.now):
            self.seen["ended"] += 1
            self._begin_anew()
        else:
            self.seen["postponed"] += bool(self.book.since and self.book.holds)
            assert not self._has_ended(), f"ended, and something is left or keeps it, at {self.now}"
            self._compare()

    def _begin_anew(self) -> None:
        self._gone_for_good(self.tenant)
        self.seen["destroyed"] += self.book.destroyed
        self.seen["parted"] += self.book.parted
        self.lives.append(TenantId(f"life{len(self.lives)}"))
        self.book = Book(self.book.kinds)

    def _gone_for_good(self, tenant: TenantId) -> None:
        """See that nothing is left of a tenant, and that nobody can begin again under its id."""
        desk, now = self.desk, self.now
        assert desk.store.count(Where(tenant=tenant, shelf=Shelf.ANY), admits=_EVERY) == 0, "a record is left"
        assert not desk.store.remembered(tenant, limit=1)
        assert not desk.store.released(tenant)
        assert not any(owner == tenant for owner, _ in desk.store.unfinished())
        assert not any(desk.keystore.get(tenant, range(1, 20))), "a key is left"
        act = desk.act(tenant, now=now, use=Use.ADMINISTER)
        for late in (
            lambda: desk.add(person(), tenant=tenant, now=now),
            lambda: Closure(desk.repository).close(act=act),
            lambda: Closure(desk.repository).reopen(act=act, decided=True),
            lambda: Rulebook(desk.repository).set('{"rules": []}', act=act),
        ):
            with pytest.raises(TenantClosed):
                late()
        assert tenant not in self._dissolution(desk).waiting(now, EVERYONE)

    def _has_ended(self) -> bool:
        return Closure(self.desk.repository).has_ended(self.tenant) or self.desk.vault.is_closed(self.tenant)

    def _policy(self) -> Policy:
        return NO_RULES if self._has_ended() else Rulebook(self.desk.repository).of(self.tenant)

    def _sweep(self, desk: Desk) -> None:
        if not self._has_ended():
            self._sweep_rules(desk)
        self._dissolve(desk)

    def _sweep_rules(self, desk: Desk) -> None:
        book, closings = Rulebook(desk.repository), Closure(desk.repository)
        sweep = Sweep(desk.store, desk.eraser, desk.vault, desk.repository.kinds, book.of, closings.since)
        sweep.run(self.tenant, now=self.now, new_erasure=lambda: self._id("e"))
        Retaining(desk.repository, desk.eraser, self._id).run(self.tenant, book.of(self.tenant), now=self.now)

    def _dissolve(self, desk: Desk) -> None:
        duty = self._dissolution(desk)
        if self.tenant in duty.waiting(self.now, EVERYONE):
            for _ in duty.slices(self.tenant, now=self.now):
                pass

    def _dissolution(self, desk: Desk) -> Dissolution:
        return Dissolution(desk.repository, desk.eraser, self.chance.randbytes)

    def _cut_off(self, work: Callable[[Desk], None], calls: int) -> None:
        """Do some work in a process that ends at some call, and start another over what it left."""
        with contextlib.suppress(CutOff):
            work(ending_at(self.chance.randrange(1, calls), self.desk))
        self.desk = self.make()
        self.desk.eraser.resume(now=self.now)

    def _compare(self) -> None:
        expected = {target: each.trashed for _, target, each in self.book.everything()}
        found = {record.id: record.trash and record.trash.at for record in self._found()}
        early, late = expected.keys() - found.keys(), found.keys() - expected.keys()
        assert not early, f"destroyed early, or against what keeps it: {early}, at {self.now}"
        assert not late, f"should be gone: {late}, at {self.now}"
        assert found == expected, f"in the trash or out of it: {_unlike(found, expected)}, at {self.now}"
        kept = Closure(self.desk.repository).of(self.tenant)
        closing = (
            None
            if kept is None
            else Closed(closed(kept.content), begun=bool(kept.content.begun_at), back=not is_closed(kept.content))
        )
        assert closing == self.book.closing, f"closed, reopened or begun, at {self.now}"

    def _found(self) -> Iterator[Any]:
        where = Where(tenant=self.tenant, kinds=("person", "entry"), shelf=Shelf.ANY)
        yield from self.desk.store.select(where, admits=_EVERY, limit=999).records


def _unlike(found: dict[str, Any], expected: dict[str, Any]) -> list[Any]:
    return [(name, found[name], expected[name]) for name in expected if found[name] != expected[name]]
