"""The trash: exactly thirty times twenty-four hours, and a way back to the same bytes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.errors import CapsuleError, ResourceMissing, SubjectErased, TrashExpired
from capsule_core.names import from_micros
from capsule_core.receipts import verify
from capsule_core.records import Mark, Shelf, Where
from capsule_core.testing.conformance.clauses import at_once
from capsule_core.testing.strategies import paragraphs, persons
from capsule_core.trash import PERIOD
from tests.core.desk import ACME, NOON, Desk, in_memory, new_id, note, person

DAYS = 30 * timedelta(hours=24)
MICROSECOND = timedelta(microseconds=1)
BERLIN, APIA = ZoneInfo("Europe/Berlin"), ZoneInfo("Pacific/Apia")
CRITICAL = [
    datetime(2026, 3, 15, 12, tzinfo=BERLIN),  # summer time begins in between
    datetime(2026, 10, 10, 2, 30, tzinfo=BERLIN),  # it ends in between
    datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),  # in the hour that comes twice
    datetime(2011, 12, 20, 12, tzinfo=APIA),  # a day is left out
    datetime(2028, 2, 10, 23, 59, 59, 999999, tzinfo=UTC),  # a leap day
    datetime(2026, 12, 20, tzinfo=timezone(timedelta(hours=14))),  # the year ends
]


def later(moment: datetime, by: timedelta) -> datetime:
    """Add elapsed time, in the zone that *moment* is written in."""
    return (moment.astimezone(UTC) + by).astimezone(moment.tzinfo)


@pytest.mark.law("L2")
@pytest.mark.parametrize("thrown", CRITICAL, ids=str)
def test_trash_can_be_taken_back_until_the_last_microsecond_and_is_destroyed_after_it(thrown: datetime) -> None:
    desk = in_memory()
    ann, bo = desk.add(person("Ann"), person("Bo"), now=thrown)
    for kept in (ann, bo):
        desk.trash(kept.id, now=thrown)
    almost = later(thrown, DAYS - MICROSECOND)
    assert desk.store.due(almost) == []
    assert desk.sweep(now=almost).subjects == 0
    assert desk.restore(ann.id, now=almost).trash is None
    at_last = later(thrown, DAYS)
    assert desk.store.due(at_last) == [ACME]
    swept = desk.sweep(now=at_last)
    assert (swept.subjects, swept.records) == (1, 1)
    (receipt,) = swept.receipts
    verify(receipt, desk.signer.verifier.text())
    with pytest.raises(SubjectErased):
        desk.add(bo.content)
    assert desk.get(ann.id).content == ann.content
    assert desk.sweep(now=later(at_last, DAYS)).subjects == 0, "once"


@pytest.mark.law("L2")
@pytest.mark.parametrize("thrown", CRITICAL, ids=str)
@pytest.mark.parametrize("mark", [None, Mark.HELD, Mark.OBLIGED])
def test_nothing_is_taken_back_from_the_last_moment_on_swept_or_not_and_kept_or_not(
    thrown: datetime, mark: Mark | None
) -> None:
    desk = in_memory()
    ann = person("Ann")
    desk.add(ann, note(ann.id), now=thrown)
    desk.trash(ann.id, now=thrown)
    if mark is not None:
        desk.mark(ann.id, mark)
    size = desk.ledger.head().size
    for late in (later(thrown, DAYS), later(thrown, DAYS + MICROSECOND), later(thrown, 2 * DAYS)):
        with pytest.raises(TrashExpired):
            desk.restore(ann.id, now=late)
    assert desk.ledger.head().size == size
    assert desk.get(ann.id).trash is not None
    assert desk.restore(ann.id, now=later(thrown, DAYS - MICROSECOND)).trash is None


@pytest.mark.law("L2")
@given(
    thrown=st.integers(0, 4 * 10**15).flatmap(
        lambda count: st.timezones().map(lambda zone: from_micros(count).astimezone(zone))
    )
)
def test_the_period_is_the_same_in_every_time_zone(thrown: datetime) -> None:
    desk = in_memory()
    (ann,) = desk.add(person())
    trash = desk.trash(ann.id, now=thrown).trash
    assert trash is not None
    assert trash.until.astimezone(UTC) - thrown.astimezone(UTC) == PERIOD == timedelta(days=30)


@pytest.mark.law("L2")
def test_a_restore_that_races_the_sweep_wins_whole_or_loses_whole() -> None:
    outcomes = set()
    for _ in range(40):
        desk = in_memory()
        people = [person(f"P{number}") for number in range(4)]
        desk.add(*people, *(note(each.id) for each in people))
        for each in people:
            desk.trash(each.id)
        sweep, *restores = at_once(lambda number, d=desk, p=people: _sweep_or_restore(d, p, number), 5)
        assert not isinstance(sweep, Exception)
        for each, restored in zip(people, restores, strict=True):
            left = desk.store.select(Where(tenant=ACME, roots=(each.id,), shelf=Shelf.ANY), admits=~Mark.NONE, limit=9)
            lost = isinstance(restored, CapsuleError)
            assert len(left.records) == (0 if lost else 2)
            assert all(record.trash is None for record in left.records)
            outcomes.add(lost)
        assert sum(len(r.statement.subjects) for r in sweep.receipts) == sum(isinstance(r, Exception) for r in restores)
    assert True in outcomes, "the sweep never won, so nothing raced"


def _sweep_or_restore(desk: Desk, people: list, number: int) -> object:
    if number == 0:
        return desk.sweep(now=NOON + DAYS)
    return desk.restore(people[number - 1].id, now=NOON + DAYS - MICROSECOND)  # its clock is a moment behind


@pytest.mark.law("L2", "L4")
@pytest.mark.parametrize("mark", [Mark.HELD, Mark.OBLIGED, Mark.RESTRICTED])
def test_what_is_guarded_waits_past_its_time_and_goes_when_the_last_reason_ends(mark: Mark) -> None:
    desk = in_memory()
    (ann, _) = desk.add(held := person("Ann"), note(held.id))
    desk.trash(ann.id)
    desk.mark(ann.id, mark)
    swept = desk.sweep(now=NOON + 2 * DAYS)
    assert (swept.subjects, swept.records, swept.guarded) == (0, 0, 1)
    desk.mark(ann.id, mark, lift=True)
    assert desk.sweep(now=NOON + 2 * DAYS).records == 2


@pytest.mark.law("L3")
@given(content=persons(), bodies=st.lists(paragraphs(), min_size=1, max_size=4), before=st.integers(0, 3))
def test_restore_gives_back_the_same_bytes_and_only_what_was_thrown_away_together(content, bodies, before) -> None:
    desk = in_memory()
    notes = [note(content.id, body) for body in bodies]
    desk.add(content, *notes)
    earlier = [each.id for each in notes[:before]]
    for name in earlier:
        desk.trash(name)
    names = [content.id, *(each.id for each in notes)]
    were = desk.store.read(ACME, names, admits=Mark.NONE)
    desk.trash(content.id)
    desk.restore(content.id)
    assert list(desk.store.read(ACME, names, admits=Mark.NONE)) == list(were)
    assert [record.id for record in were if record.trash] == earlier


@pytest.mark.law("L3")
def test_what_was_restored_once_cannot_be_restored_from_an_old_view() -> None:
    desk = in_memory()
    (ann,) = desk.add(person())
    trashed = desk.trash(ann.id)
    desk.restore(ann.id)
    desk.trash(ann.id)
    with pytest.raises(CapsuleError):
        desk.repository.restore(trashed, act=desk.act())
    assert desk.get(ann.id).trash is not None
    with pytest.raises(ResourceMissing):
        desk.restore(new_id("c"))
