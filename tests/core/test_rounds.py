"""Rounds: nobody waits for all that another tenant has, what is due longest goes first, and holds count at the last."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.errors import Unavailable
from capsule_core.journal import MemoryJournal
from capsule_core.ledger import MemoryLedger
from capsule_core.memory import MemoryKeystore, MemoryStore
from capsule_core.names import TenantId
from capsule_core.records import Mark, Page
from capsule_core.rounds import AGAIN, Rounds, Stint
from capsule_core.stores import EVERYONE, Share
from capsule_core.sweeping import SLICE, Expiry, Swept
from tests.core.desk import ACME, NOON, Desk, in_memory, new_id, note, person

MONTH = 30 * timedelta(hours=24)
SECOND = timedelta(seconds=1)
ZETA = TenantId("zeta")


@attrs.define
class Piles:
    """A duty over made-up tenants: since when each has had something due, and how many people."""

    piles: dict[TenantId, list[tuple[datetime, int]]]
    log: list[tuple[TenantId, int]] = attrs.field(factory=list)
    broken: frozenset[TenantId] = frozenset()

    def waiting(self, now: datetime, share: Share) -> Sequence[TenantId]:
        due = {tenant: [when for when, _ in pile if when <= now] for tenant, pile in self.piles.items()}
        return sorted((t for t in due if due[t] and share.has(t)), key=lambda tenant: (min(due[tenant]), tenant))

    def slices(self, tenant: TenantId, *, now: datetime) -> Iterator[Swept]:
        while due := [each for each in self.piles[tenant] if each[0] <= now]:
            if tenant in self.broken:
                raise Unavailable
            ((when, count), *_) = due
            self.piles[tenant].remove((when, count))
            if count > SLICE:
                self.piles[tenant].append((when, count - SLICE))
            self.log.append((tenant, min(count, SLICE)))
            yield Swept(subjects=min(count, SLICE), records=min(count, SLICE))


class Watched(MemoryStore):
    """A store; *found* happens between finding and destroying."""

    found: Callable[[], object] = staticmethod(lambda: None)

    def select(self, *args: Any, **more: Any) -> Page:
        page = super().select(*args, **more)
        self.found()
        return page


def rounds(*duties: Piles, wide: int = 2, now: datetime = NOON) -> Rounds:
    return Rounds(duties, EVERYONE, lambda: now, wide)


def to_the_end(swept: Rounds) -> list[Stint]:
    stints = [swept.step()]
    while stints[-1].left:
        stints.append(swept.step())
    return stints


def test_a_tenant_with_a_million_due_delays_no_other_by_more_than_the_round() -> None:
    giant, small = TenantId("giant"), [TenantId(f"small-{n}") for n in range(9)]
    duty = Piles({giant: [(NOON - 90 * MONTH, 1_000_000)], **{tenant: [(NOON, 3)] for tenant in small}})
    swept = rounds(duty, wide=2)
    for _ in range(ceil(10 / 2)):
        assert swept.step().left
    assert {tenant for tenant, _ in duty.log} == {giant, *small}
    stints = to_the_end(swept)
    assert sum(count for _, count in duty.log) == 1_000_000 + 9 * 3
    assert len(stints) <= 1_000_000 // SLICE + 1


def test_what_has_been_due_for_longest_goes_first() -> None:
    days = [17, 3, 90, 42, 1]
    duty = Piles({TenantId(f"t-{day}"): [(NOON - timedelta(days=day), 1)] for day in days})
    to_the_end(rounds(duty, wide=1))
    assert [tenant for tenant, _ in duty.log] == [f"t-{day}" for day in sorted(days, reverse=True)]


@given(
    piles=st.lists(
        st.lists(st.tuples(st.integers(0, 60), st.integers(1, 4 * SLICE)), max_size=4), min_size=1, max_size=8
    ),
    wide=st.integers(1, 4),
)
def test_whoever_falls_due_has_a_turn_within_two_rounds(piles: list[list[tuple[int, int]]], wide: int) -> None:
    """Counted in steps: the clock goes on a minute with each of them."""
    begun = {
        TenantId(f"t-{number}"): [(NOON + AGAIN * minute, count) for minute, count in pile]
        for number, pile in enumerate(piles)
    }
    duty, steps = Piles({tenant: list(pile) for tenant, pile in begun.items()}), 0
    swept = Rounds([duty], EVERYONE, lambda: NOON + AGAIN * steps, wide)
    first: dict[TenantId, int] = {}
    while steps < 60 or any(duty.piles.values()):
        swept.step()
        for tenant, _ in duty.log:
            first.setdefault(tenant, steps)
        steps += 1
    bound = 2 * ceil(len(piles) / wide)
    for tenant, pile in begun.items():
        if pile:
            assert first[tenant] - (min(when for when, _ in pile) - NOON) // AGAIN <= bound
    assert sum(count for _, count in duty.log) == sum(count for pile in piles for _, count in pile)


def test_what_cannot_be_swept_in_one_tenant_holds_up_no_other() -> None:
    duty = Piles({ACME: [(NOON, 1)], ZETA: [(NOON, 1)]}, broken=frozenset({ACME}))
    stints = to_the_end(rounds(duty))
    assert duty.log == [(ZETA, 1)]
    assert [stint.postponed for stint in stints] == [{"UNAVAILABLE": 1}]


def test_a_clock_set_back_ends_what_was_begun_by_the_later_one() -> None:
    duty = Piles({ACME: [(NOON, 10 * SLICE)]})
    moments = iter([NOON, NOON + SECOND, NOON - SECOND, NOON + SECOND])
    swept = Rounds([duty], EVERYONE, lambda: next(moments), 2)
    assert swept.step().left
    assert swept.step().left
    assert swept.step() == Stint()
    assert len(duty.log) == 2


def test_a_tenant_swept_to_its_end_is_looked_at_again_after_a_minute() -> None:
    duty = Piles({ACME: [(NOON, 1), (NOON + SECOND, 1)], ZETA: [(NOON, 10 * SLICE)]})
    now = NOON
    swept = Rounds([duty], EVERYONE, lambda: now, 2)
    swept.step()
    now = NOON + 2 * SECOND
    swept.step()
    assert [tenant for tenant, _ in duty.log] == [ACME, ZETA, ZETA]
    now = NOON + AGAIN + SECOND
    swept.step()
    assert [tenant for tenant, _ in duty.log].count(ACME) == 2


@pytest.mark.law("L4")
def test_a_hold_placed_after_somebody_was_found_keeps_them() -> None:
    ledger, journal = MemoryLedger(), MemoryJournal()
    store = Watched(ledger, journal)
    desk = Desk(store, MemoryKeystore(), journal, ledger)
    people = desk.add(*(person(f"P{number}") for number in range(3)))
    for each in people:
        desk.trash(each.id)
    expiry = Expiry(desk.sweeping, lambda: new_id("e"))
    now = NOON + MONTH
    store.found = lambda: desk.mark(people[1].subject, Mark.HELD)
    (stint,) = to_the_end(Rounds([expiry], EVERYONE, lambda: now, 5))
    store.found = lambda: None
    assert stint.subjects == 2
    assert desk.store.subjects(ACME, [people[1].subject])[0].marks == Mark.HELD
    desk.mark(people[1].subject, Mark.HELD, lift=True)
    (stint,) = to_the_end(Rounds([expiry], EVERYONE, lambda: now, 5))
    assert stint.subjects == 1


def test_loose_records_go_in_slices_each_with_its_leaf() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    notes = desk.add(*(note(ann.id) for _ in range(SLICE + 1)))
    for each in notes:
        desk.trash(each.id)
    before = len(desk.leaves())
    stints = to_the_end(Rounds([Expiry(desk.sweeping, lambda: new_id("e"))], EVERYONE, lambda: NOON + MONTH, 5))
    assert [stint.records for stint in stints] == [SLICE, 1]
    assert [leaf.act for leaf in desk.leaves()[before:]] == ["trash.clear"] * 2
    assert desk.get(ann.id).content == ann.content
