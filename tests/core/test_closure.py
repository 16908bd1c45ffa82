"""Closing an account: two clocks, nothing early, everything in the end; and reopened it is as if nothing had been."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.calendar import LATEST
from capsule_core.closing import (
    FEWEST,
    GRACE,
    Closing,
    Figure,
    Ground,
    Remaining,
    Term,
    account_until,
    due,
    figures,
    is_closed,
    reopen_until,
    spared,
)
from capsule_core.closure import Closure
from capsule_core.custody import Custody
from capsule_core.dissolution import Dissolution
from capsule_core.errors import InvalidField, ResourceMissing, TenantClosed
from capsule_core.forecasts import explain, forecast
from capsule_core.holds import Ground as Lawful
from capsule_core.holds import Hold
from capsule_core.keeping import obligations
from capsule_core.kept import Kept
from capsule_core.names import ActorRef, RecordId, SubjectKey, TenantId
from capsule_core.privacy import Privacy
from capsule_core.protection import EVERYBODY
from capsule_core.records import Mark, Sealed, Shelf, Where
from capsule_core.retaining import Retaining
from capsule_core.retention import Keep
from capsule_core.rulebook import Rulebook
from capsule_core.stores import EVERYONE
from capsule_core.sweeping import Sweep, Swept
from capsule_core.uses import Use
from capsule_core.witness import bears_witness
from tests.core.desk import ACME, NOON, ZETA, Desk, asked, in_memory, invoice, new_id, note, person

OVER = NOON + GRACE
DAY = timedelta(days=1)
EVERY = ~Mark.NONE
POLICY = """{"rules": [{"id": "all", "effect": "keep", "since": "created", "period": "P30Y"}]}"""


@pytest.fixture
def desk() -> Desk:
    return in_memory()


def closed(desk: Desk, *, tenant: TenantId = ACME, **how: Any) -> Kept[Closing]:
    return Closure(desk.repository).close(act=desk.act(tenant, use=Use.ADMINISTER, verb="close"), **how)


def reopened(desk: Desk, *, after: timedelta = timedelta(), **how: Any) -> Kept[Closing]:
    act = desk.act(now=NOON + after, use=Use.ADMINISTER, verb="reopen")
    return Closure(desk.repository).reopen(act=act, **how)


def duty(desk: Desk, **how: Any) -> Dissolution:
    return Dissolution(desk.repository, desk.eraser, secrets.token_bytes, **how)


def dissolved(desk: Desk, now: datetime = OVER, *, tenant: TenantId = ACME, **how: Any) -> list[Swept]:
    return list(duty(desk, **how).slices(tenant, now=now))


def rows(desk: Desk, tenant: TenantId = ACME) -> int:
    return desk.store.count(Where(tenant=tenant, shelf=Shelf.ANY), admits=EVERY)


def acts(desk: Desk) -> list[str]:
    return [leaf.act for leaf in desk.leaves()]


def lawyer(**on: Any) -> Hold:
    return Hold(
        id=new_id("h"), ground=Lawful.LEGAL_CLAIMS, authority="a court", placed_at="", placed_by="user/u1", **on
    )


def held(desk: Desk, **on: Any) -> Kept[Hold]:
    return Custody(desk.repository).place(lawyer(**on), act=desk.act(use=Use.ADMINISTER, verb="hold"))


def released(desk: Desk, hold: Kept[Hold]) -> None:
    Custody(desk.repository).release(hold.id, act=desk.act(use=Use.ADMINISTER, verb="release"))


# The clocks.


def at(moment: datetime, **more: Any) -> Closing:
    return Closing(closed_at=moment.isoformat(), closed_by="user/u1", **more)


@given(st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(9790, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_customer_data_is_due_after_exactly_fourteen_times_24_hours_and_the_account_within_twelve_months(
    moment: datetime,
) -> None:
    one = at(moment)
    assert due(one, Term.CUSTOMER_DATA) - moment == timedelta(hours=336)
    begun = due(one, Term.ACCOUNT)
    a_year = moment.replace(year=moment.year + 1, day=28 if (moment.month, moment.day) == (2, 29) else moment.day)
    assert moment + timedelta(days=364) < begun <= a_year
    assert begun < account_until(one)
    assert reopen_until(one) < begun


def test_what_would_be_due_after_the_calendar_ends_is_due_when_it_does() -> None:
    assert reopen_until(at(LATEST)) == LATEST


def test_a_ground_keeps_the_accounts_data_until_its_end_of_one_user_or_of_all_and_never_customer_data() -> None:
    of_ann = Remaining(ground=Ground.DISPUTES, until="2028-01-01T00:00:00Z", user="u1")
    one = at(NOON, grounds=(of_ann, Remaining(ground=Ground.REGULATORY, until="2027-06-01T00:00:00+00:00")))
    assert spared(one, Term.ACCOUNT, now=datetime(2027, 5, 31, 23, 59, 59, 999999, UTC)) == {EVERYBODY, "u1"}
    assert spared(one, Term.ACCOUNT, now=datetime(2027, 6, 1, tzinfo=UTC)) == {"u1"}
    assert spared(one, Term.ACCOUNT, now=datetime(2028, 1, 1, tzinfo=UTC)) == set()
    assert spared(one, Term.CUSTOMER_DATA, now=NOON) == set()


@pytest.mark.parametrize("until", ["", "never", "2028-01-01", "2028-01-01T00:00:00"])
def test_there_is_no_ground_without_an_end(until: str) -> None:
    with pytest.raises(InvalidField, match="until must be a date and time"):
        Remaining(ground=Ground.SECURITY, until=until)


@given(st.dictionaries(st.sampled_from(["person", "organisation", "user"]), st.integers(0, 30)))
def test_a_figure_that_stays_never_speaks_of_fewer_than_ten_people(people: dict[str, int]) -> None:
    assert FEWEST == 10
    assert figures(people) == tuple(Figure(kind, count) for kind, count in sorted(people.items()) if count >= 10)


# Closing and reopening.


def test_closing_again_changes_nothing_and_no_clock_runs_anew(desk: Desk) -> None:
    first = closed(desk)
    again = Closure(desk.repository).close(act=desk.act(now=NOON + 3 * DAY, use=Use.ADMINISTER))
    assert again == first
    assert acts(desk) == ["close"]
    assert Closure(desk.repository).since(ACME) == NOON


@pytest.mark.law("L9")
def test_the_same_request_closes_and_reopens_once(desk: Desk) -> None:
    first = closed(desk, request=asked("close"))
    back = reopened(desk, request=asked("reopen"))
    assert closed(desk, request=asked("close")) == first
    assert reopened(desk, request=asked("reopen")) == back
    assert not is_closed(Closure(desk.repository).of(ACME).content)  # type: ignore[union-attr]


def test_what_was_never_closed_can_neither_be_reopened_nor_kept_on_a_ground(desk: Desk) -> None:
    desk.add(person())
    with pytest.raises(ResourceMissing, match="no such closing"):
        reopened(desk)
    with pytest.raises(ResourceMissing, match="no such closing"):
        Closure(desk.repository).record(Remaining(ground=Ground.DISPUTES, until="2028-01-01T00:00:00Z"), act=desk.act())


@pytest.mark.law("L3")
def test_reopened_in_time_everything_is_as_it_was_to_the_byte(desk: Desk) -> None:
    ann, bo = person("Ann", email="ann@example.org"), person("Bo")
    desk.add(ann, bo, note(ann.id), invoice(bo.id))
    desk.trash(bo.id)

    def kept() -> list[Any]:
        page = desk.store.select(Where(tenant=ACME, shelf=Shelf.ANY), admits=EVERY, limit=99)
        return sorted((record for record in page.records if record.kind != "closing"), key=lambda each: each.id)

    before = kept()
    closed(desk)
    for moment in (NOON, NOON + DAY, OVER - timedelta.resolution):
        assert dissolved(desk, moment) == []
    reopened(desk, after=GRACE - timedelta.resolution)
    for moment in (OVER, OVER + 400 * DAY):
        assert dissolved(desk, moment) == []
    assert kept() == before
    assert desk.get(ann.id).content == ann
    assert Closure(desk.repository).since(ACME) is None


def test_too_late_nobody_reopens_and_begun_not_even_who_decided_in_time(desk: Desk) -> None:
    desk.add(person())
    closed(desk)
    with pytest.raises(TenantClosed):
        reopened(desk, after=GRACE)
    list(duty(desk, may_end=lambda _: False).slices(ACME, now=OVER))
    with pytest.raises(TenantClosed):
        reopened(desk, decided=True)


def test_who_hears_of_a_reopening_late_reopens_as_long_as_nothing_was_destroyed(desk: Desk) -> None:
    closed(desk)
    assert not is_closed(reopened(desk, after=GRACE + DAY, decided=True).content)


def test_closed_anew_after_a_reopening_all_clocks_run_anew_and_an_old_message_closes_nothing(desk: Desk) -> None:
    closed(desk)
    reopened(desk, after=DAY)
    assert not is_closed(closed(desk, at=NOON).content)
    again = closed(desk, at=NOON + 2 * DAY)
    assert is_closed(again.content)
    assert reopen_until(again.content) == OVER + 2 * DAY


def test_a_clock_that_was_set_back_makes_no_two_closings_one(desk: Desk) -> None:
    closed(desk)
    reopened(desk)
    assert closed(desk).content.closed_at == (NOON + timedelta.resolution).isoformat()


def test_who_learns_of_a_closing_late_destroys_at_once_and_never_before_its_time(desk: Desk) -> None:
    desk.add(person("Ann"))
    act = desk.act(now=NOON + 20 * DAY, use=Use.ADMINISTER, verb="close")
    Closure(desk.repository).close(act=act, at=NOON + 3 * DAY)
    assert dissolved(desk, NOON + 17 * DAY - timedelta.resolution) == []
    assert sum(each.subjects for each in dissolved(desk, NOON + 20 * DAY)) == 1


def test_who_missed_a_reopening_takes_the_newer_closing(desk: Desk) -> None:
    closed(desk)
    assert Closure(desk.repository).since(ACME) == NOON
    closed(desk, at=NOON + 5 * DAY)
    assert Closure(desk.repository).since(ACME) == NOON + 5 * DAY


def test_of_reopening_and_beginning_to_destroy_at_once_one_wins(desk: Desk) -> None:
    ann = person("Ann")
    desk.add(ann)
    closed(desk)

    def meanwhile(_: TenantId, __: datetime) -> bool:
        reopened(desk, decided=True)
        return True

    assert dissolved(desk, may_begin=meanwhile) == []
    assert desk.get(ann.id).content == ann


def test_a_ground_is_on_record_until_it_gets_another_end(desk: Desk) -> None:
    closed(desk)
    for until in ("2027-06-01T00:00:00Z", "2028-06-01T00:00:00Z"):
        told = Remaining(ground=Ground.FRAUD_AND_ABUSE, until=until)
        kept = Closure(desk.repository).record(told, act=desk.act(use=Use.ADMINISTER, verb="keep"))
    assert kept.content.grounds == (told,)
    assert desk.leaves()[-1].detail == {"ground": "fraud_and_abuse", "until": "2028-06-01T00:00:00Z"}
    reopened(desk)
    assert closed(desk, at=NOON + DAY).content.grounds == (told,)


# Carrying it out.


@pytest.mark.law("L2", "L6")
def test_not_a_microsecond_early_and_then_everything_goes_and_the_id_is_never_used_again(desk: Desk) -> None:
    ann, bo, cy = person("Ann", email="ann@example.org"), person("Bo"), person("Cy", email="cy@example.org")
    desk.add(ann, bo, cy, note(ann.id), person("Zoe"))
    desk.add(person("Zed"), tenant=ZETA)
    desk.trash(bo.id)
    desk.forget(cy.id)
    Rulebook(desk.repository).set(POLICY, act=desk.act(use=Use.ADMINISTER, verb="set"))
    released(desk, held(desk, subject=ann.id))
    closed(desk)
    assert dissolved(desk, OVER - timedelta.resolution) == []
    size = len(acts(desk))
    done = dissolved(desk)
    assert sum(each.subjects for each in done) == 3
    (receipt,) = (receipt for each in done for receipt in each.receipts)
    assert (receipt.statement.ground, receipt.statement.policy.name) == ("closure", "closure")
    assert acts(desk)[size:] == [
        "closure.begin",
        *(f"erasure.{act}" for act in ("fence", "delete", "commit")),
        "closure.lift",
        "closure.forget",
        "closure.end",
        "closure.tidy",
    ]
    assert rows(desk) == 0
    assert desk.store.remembered(ACME, limit=9) == []
    for late in (lambda: desk.add(person("Late")), lambda: closed(desk), lambda: desk.vault.tenant(ACME)):
        with pytest.raises(TenantClosed):
            late()
    assert duty(desk).waiting(OVER + DAY, EVERYONE) == []
    assert rows(desk, ZETA) == 1


def test_a_rule_that_keeps_does_not_stop_a_closing_and_a_hold_does(desk: Desk) -> None:
    ann, bo = person("Ann"), person("Bo")
    desk.add(ann, bo, note(ann.id))
    Rulebook(desk.repository).set(POLICY, act=desk.act(use=Use.ADMINISTER, verb="set"))
    hold = held(desk, subject=ann.id)
    closed(desk)
    dissolved(desk)
    assert desk.get(ann.id).content == ann
    assert desk.store.people(ACME, limit=9) == sorted([SubjectKey(ann.id), EVERYBODY])
    released(desk, hold)
    dissolved(desk, OVER + DAY)
    assert rows(desk) == 0


@pytest.mark.law("L4")
def test_a_hold_on_the_tenant_postpones_it_all_and_released_it_goes_by_itself(desk: Desk) -> None:
    ann = person("Ann")
    desk.add(ann)
    hold = held(desk)
    closed(desk)
    standing = duty(desk)
    for days in range(3):
        assert standing.waiting(OVER + days * DAY, EVERYONE) == [ACME]
        assert list(standing.slices(ACME, now=OVER + days * DAY)) == []
    assert "closure.begin" not in acts(desk)
    released(desk, hold)
    assert standing.waiting(OVER + 3 * DAY, EVERYONE) == [ACME]
    assert sum(each.subjects for each in standing.slices(ACME, now=OVER + 3 * DAY)) == 1
    assert rows(desk) == 0


@pytest.mark.law("L4")
def test_held_and_obliged_records_live_on_under_keys_of_their_own_and_go_by_themselves(desk: Desk) -> None:
    ann, bo = person("Ann"), person("Bo")
    evidence, bill = note(ann.id), invoice(bo.id)
    desk.add(ann, bo, evidence, note(ann.id), bill)
    hold = held(desk, record=evidence.id)
    closed(desk)
    dissolved(desk)
    for _ in range(2):
        assert dissolved(desk, OVER + DAY) == []
        assert {desk.get(each, use=Use.LEGAL_CLAIM).id for each in (evidence.id, bill.id)} == {evidence.id, bill.id}
        assert desk.sweep(now=OVER + DAY).receipts == ()
    released(desk, hold)
    _discharge(desk, bo.id)
    assert dissolved(desk, OVER + DAY) == []  # what was kept goes with the sweep first, with a receipt of its own
    assert [each.statement.ground for each in desk.sweep(now=OVER + DAY).receipts] == ["obligation_ended"]
    dissolved(desk, OVER + DAY)
    assert rows(desk) == 0


def _discharge(desk: Desk, person_: str) -> None:
    act = desk.act(use=Use.ADMINISTER, verb="discharge")
    act = attrs.evolve(act, witness=bears_witness(desk.vault, act))
    desk.store.mark(obligations(desk.store, ACME, SubjectKey(person_)), lift=True, act=act)


def test_of_whom_only_an_obliged_record_is_left_it_is_kept_and_out_of_reach(desk: Desk) -> None:
    bill = invoice(new_id("c"))
    desk.add(bill, person("Bo"))
    closed(desk)
    assert sum(each.subjects for each in dissolved(desk)) == 1
    assert desk.get(bill.id, use=Use.LEGAL_CLAIM).content == bill
    assert desk.store.people(ACME, limit=9) == [EVERYBODY]


def test_people_of_whom_nothing_but_a_key_is_left_lose_it_too(desk: Desk) -> None:
    ann = person("Ann")
    desk.add(ann, person("Bo"))
    act = desk.act(use=Use.ERASE)
    desk.store.destroy(
        Where(tenant=ACME, ids=(RecordId(ann.id),)), admits=EVERY, act=attrs.evolve(act, witness=lambda _: None)
    )
    bill = invoice(person().id)
    desk.add(bill)
    closed(desk)
    assert sum(each.subjects for each in dissolved(desk)) == 2
    (slot,) = [each.slot for each in desk.store.subjects(ACME, [SubjectKey(ann.id)]) if each]
    assert desk.vault.remaining(ACME, [slot]) == []


def test_it_begins_when_it_may_and_ends_when_all_has_been_told(desk: Desk) -> None:
    desk.add(person("Ann"))
    closed(desk)
    asked_: list[tuple[TenantId, datetime]] = []

    def not_yet(tenant: TenantId, moment: datetime) -> bool:
        asked_.append((tenant, moment))
        return False

    assert dissolved(desk, may_begin=not_yet) == []
    assert asked_ == [(ACME, NOON)]
    assert "closure.begin" not in acts(desk)
    dissolved(desk, may_end=lambda _: False)
    desk.vault.tenant(ACME)  # its receipts can be read until it has ended
    dissolved(desk, OVER + DAY, may_begin=not_yet)
    assert rows(desk) == 0


def test_the_leaf_of_its_beginning_says_how_many_there_were_if_they_were_many(desk: Desk) -> None:
    desk.add(*(person() for _ in range(10)))
    closed(desk)
    dissolved(desk)
    (begun,) = (leaf for leaf in desk.leaves() if leaf.act == "closure.begin")
    assert begun.detail == {"closed": NOON.isoformat(), "person": "10"}


def test_users_with_a_ground_on_record_outlive_the_others_until_its_end(desk: Desk) -> None:
    ann, bo = person("Ann"), person("Bo")
    desk.add(ann, bo)
    closed(desk)
    until = datetime(2028, 1, 1, tzinfo=UTC)
    told = Remaining(ground=Ground.UNSUBSCRIBE, until=until.isoformat(), user=ann.id)
    Closure(desk.repository).record(told, act=desk.act(use=Use.ADMINISTER, verb="keep"))
    assert dissolved(desk, OVER, term=Term.ACCOUNT) == []
    dissolved(desk, due(at(NOON), Term.ACCOUNT), term=Term.ACCOUNT)
    assert desk.store.people(ACME, limit=9) == sorted([SubjectKey(ann.id), EVERYBODY])
    dissolved(desk, until - timedelta.resolution, term=Term.ACCOUNT)
    assert desk.get(ann.id).content == ann
    dissolved(desk, until, term=Term.ACCOUNT)
    assert rows(desk) == 0


def test_what_is_not_due_is_looked_at_when_it_is_and_before_that_once_an_hour(desk: Desk) -> None:
    closed(desk)
    standing = duty(desk)

    def named(now: datetime) -> bool:
        if waiting := standing.waiting(now, EVERYONE) == [ACME]:
            list(standing.slices(ACME, now=now))
        return waiting

    minutes = [NOON + timedelta(minutes=each) for each in range(0, 121, 30)]
    assert [named(each) for each in minutes] == [True, False, True, False, True]
    assert named(OVER - timedelta(minutes=10))
    assert not named(OVER - timedelta(seconds=1))
    assert named(OVER)


@pytest.mark.law("L1")
def test_the_closing_of_one_tenant_is_none_of_anothers(desk: Desk) -> None:
    zed = person("Zed")
    desk.add(zed, tenant=ZETA)
    desk.add(person("Ann"))
    closed(desk)
    assert dissolved(desk, tenant=ZETA) == []
    dissolved(desk)
    assert desk.get(zed.id, tenant=ZETA).content == zed


def test_the_front_door_closes_reopens_keeps_and_carries_out() -> None:
    clerk, p = ActorRef("user", "clerk"), Privacy.in_memory(kinds=[type(person())])
    ann = p.save("acme", person("Ann"), by=clerk, now=NOON)
    p.closing.close("acme", by=clerk, now=NOON)
    assert not is_closed(p.closing.reopen("acme", by=clerk, now=NOON + DAY).content)
    p.closing.close("acme", by=clerk, now=NOON + DAY)
    told = Remaining(ground=Ground.SECURITY, until="2027-01-01T00:00:00Z")
    assert p.closing.keep("acme", told, by=clerk, now=NOON).content.grounds == (told,)
    assert p.closing.of("zeta") is None
    assert p.closing.run(now=OVER) == {ACME: ()}
    (receipt,) = p.closing.run(now=OVER + DAY)[ACME]
    assert receipt.statement.subjects == (ann.subject,)
    with pytest.raises(TenantClosed):
        p.closing.of("acme")


# What a policy says of it.


def test_a_rule_that_begins_with_the_closing_is_carried_out_forecast_and_explained(desk: Desk) -> None:
    ann = person("Ann")
    (kept,) = desk.add(ann)
    text = (
        '{"rules": [{"id": "soon", "effect": "trash", "since": "tenant_closed", "period": "P7D", "kinds": ["person"]}]}'
    )
    Rulebook(desk.repository).set(text, act=desk.act(use=Use.ADMINISTER, verb="set"))
    policy, later = Rulebook(desk.repository).of(ACME), NOON + 40 * DAY
    record = desk.store.read(ACME, [kept.id], admits=EVERY)[0]
    assert isinstance(record, Sealed)
    assert Retaining(desk.repository, desk.eraser, new_id).run(ACME, policy, now=later).trashed == 0
    assert forecast(desk.repository, ACME, policy, now=NOON) == []
    assert explain(desk.repository, record, policy, now=later).decision == Keep(None, ())
    closed(desk, at=NOON + 30 * DAY)
    due_at = datetime(2026, 4, 8, tzinfo=UTC)
    assert [each.records for each in forecast(desk.repository, ACME, policy, now=NOON)] == [1]
    assert explain(desk.repository, record, policy, now=NOON + 31 * DAY).decision == Keep(due_at, ("soon",))
    retaining = Retaining(desk.repository, desk.eraser, new_id)
    assert retaining.run(ACME, policy, now=due_at - timedelta.resolution).trashed == 0
    assert retaining.run(ACME, policy, now=due_at).trashed == 1


def test_a_rule_that_keeps_since_the_closing_keeps_what_is_in_the_trash_until_its_end(desk: Desk) -> None:
    ann = person("Ann")
    desk.add(ann)
    text = '{"rules": [{"id": "long", "effect": "keep", "since": "tenant_closed", "period": "P60D"}]}'
    Rulebook(desk.repository).set(text, act=desk.act(use=Use.ADMINISTER, verb="set"))
    desk.trash(ann.id)
    closed(desk)
    policies, closings = Rulebook(desk.repository), Closure(desk.repository)
    sweep = Sweep(desk.store, desk.eraser, desk.vault, desk.repository.kinds, policies.of, closings.since)
    assert sweep.run(ACME, now=NOON + 31 * DAY, new_erasure=lambda: new_id("e")).subjects == 0
    assert sweep.run(ACME, now=NOON + 62 * DAY, new_erasure=lambda: new_id("e")).subjects == 1
