"""A policy is carried out: never early, never what is guarded or changed meanwhile, and each act has its leaf."""

from __future__ import annotations

import json
import secrets
from datetime import timedelta

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capsule_core.contacts import Entry
from capsule_core.errors import ResourceMissing
from capsule_core.forecasts import explain, forecast, simulate
from capsule_core.moments import Event, Moment
from capsule_core.names import SubjectKey, TenantId
from capsule_core.policies import amended, document, parse_policy
from capsule_core.records import Mark, Where
from capsule_core.retaining import Retained, Retaining
from capsule_core.retention import GRACE, NO_RULES, TRASH, Effect, Keep, Policy
from capsule_core.rulebook import Rulebook
from capsule_core.statements import Outcome
from capsule_core.stores import EVERYONE
from capsule_core.sweeping import Sweep
from capsule_core.upkeep import Upkeep
from capsule_core.uses import Use
from tests.core.desk import ACME, NOON, ZETA, Desk, in_memory, invoice, new_id, note, person

TENANTS = (TenantId(f"retained{number}") for number in range(10**9))
YEAR = timedelta(days=366)
DAY = timedelta(days=1)


@pytest.fixture
def desk() -> Desk:
    return in_memory()


def policy(desk: Desk, *rules: dict[str, object]) -> Policy:
    return parse_policy(
        json.dumps({"rules": [{"id": f"r{n}", **rule} for n, rule in enumerate(rules)]}), desk.repository.kinds
    )


def run(desk: Desk, by: Policy, *, after: timedelta) -> Retained:
    return Retaining(desk.repository, desk.eraser, new_id).run(ACME, by, now=NOON + after)


LEADS = {"effect": "trash", "since": "contacted", "period": "P1Y", "kinds": ["person"]}
OLD = {"effect": "destroy", "since": "created", "period": "P1Y", "kinds": ["person"]}
NOTES = {"effect": "destroy", "since": "created", "period": "P6M", "kinds": ["entry"]}


def call(contact: str, day: str) -> Entry:
    return Entry(id=new_id("e"), contact=contact, channel="call", occurred_at=f"{day}T10:00:00Z", direction="out")


def test_who_was_not_contacted_for_a_year_is_thrown_away_with_all_that_hangs_on_them() -> None:
    desk = in_memory()
    ann, bo = desk.add(person("Ann"), person("Bo"))
    desk.add(note(ann.id))
    desk.add(call(bo.id, "2026-08-01"), now=NOON + YEAR / 2)
    leads = policy(desk, LEADS)
    assert run(desk, leads, after=YEAR - 2 * DAY) == Retained()
    assert run(desk, leads, after=YEAR) == Retained(trashed=2)
    assert desk.get(ann.id).trash is not None
    assert desk.get(bo.id).trash is None
    assert [leaf.act for leaf in desk.leaves()][-1] == "retention.trash"
    assert run(desk, leads, after=YEAR) == Retained()
    desk.restore(ann.id, now=NOON + YEAR + DAY)
    assert run(desk, leads, after=2 * YEAR + 2 * DAY).trashed == 4


@pytest.mark.law("L3")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    since=st.sampled_from(["created", "updated", "opened", "contacted"]),
    days=st.integers(0, 29),
    forced=st.booleans(),
)
def test_who_takes_back_what_a_rule_threw_away_has_it_for_the_whole_period_anew(
    desk: Desk, since: str, days: int, *, forced: bool
) -> None:
    """Taking back is a use. It does not put off what a rule destroys: that is a limit, not a tidying up."""
    tenant = next(TENANTS)
    (ann,) = desk.add(person("Ann"), tenant=tenant)
    desk.add(note(ann.id), tenant=tenant)
    by = policy(desk, {**LEADS, "since": since}, *([{**OLD, "period": "P20M"}] if forced else []))
    retaining = Retaining(desk.repository, desk.eraser, new_id)
    back = NOON + YEAR + timedelta(days=days)
    assert retaining.run(tenant, by, now=NOON + YEAR) == Retained(trashed=2)
    desk.restore(ann.id, tenant=tenant, now=back)
    (sealed,) = desk.store.read(tenant, [ann.id], admits=~Mark.NONE)
    told = explain(desk.repository, sealed, by, now=back)
    assert isinstance(told.decision, Keep)
    assert told.decision.until is not None
    if forced:
        assert told.decision.because == ("r1",)
        assert told.decision.until < back + YEAR
    else:
        assert told.decision.until == by.clock(by.rules[0]).ended(back) == told.runs[0].ends
    for moment in (back, told.decision.until - timedelta(microseconds=1)):
        assert retaining.run(tenant, by, now=moment) == Retained()
    assert retaining.run(tenant, by, now=told.decision.until).trashed == (0 if forced else 2)
    assert forced == (desk.store.read(tenant, [ann.id], admits=~Mark.NONE) == [None])


def test_people_are_erased_with_a_receipt_that_cites_the_tenants_policy_and_notes_are_cleared() -> None:
    desk = in_memory()
    ann, bo = desk.add(person("Ann"), person("Bo"))
    desk.add(note(ann.id), note(bo.id), now=NOON + YEAR / 2)
    done = run(desk, policy(desk, OLD, NOTES), after=YEAR / 2 + 100 * DAY)
    assert done == Retained()
    done = run(desk, policy(desk, NOTES), after=YEAR + DAY)
    assert (done.destroyed, done.receipts) == (2, ())
    done = run(desk, policy(desk, OLD), after=YEAR + DAY)
    assert done.destroyed == 2
    (statement,) = [receipt.statement for receipt in done.receipts]
    assert {*statement.subjects} == {ann.id, bo.id}
    assert (statement.ground, statement.policy.name) == ("retention", "tenant")
    assert statement.destructions[0].outcome is Outcome.ERASED
    with pytest.raises(ResourceMissing):
        desk.get(ann.id)


@pytest.mark.law("L4")
@pytest.mark.parametrize("mark", [Mark.HELD, Mark.OBLIGED, Mark.RESTRICTED])
def test_what_is_guarded_stays_and_goes_by_itself_when_nothing_guards_it_any_more(mark: Mark) -> None:
    desk = in_memory()
    ann, bo = desk.add(person("Ann"), person("Bo"))
    desk.mark(ann.id, mark)
    assert [r.statement.subjects for r in run(desk, policy(desk, OLD), after=2 * YEAR).receipts] == [(bo.id,)]
    desk.mark(ann.id, mark, lift=True)
    assert [r.statement.subjects for r in run(desk, policy(desk, OLD), after=2 * YEAR).receipts] == [(ann.id,)]


@pytest.mark.law("L4")
def test_one_who_is_held_between_the_finding_and_the_doing_stays_and_the_others_go() -> None:
    desk = in_memory()
    people = desk.add(*(person(f"P{number}") for number in range(5)))
    names: list[str] = []

    def meanwhile(letter: str) -> str:
        if not names:  # what is due was found, and nothing is done yet
            desk.mark(people[2].id, Mark.HELD)
            desk.rename(people[3].id, "changed meanwhile")
            desk.store.happen(ACME, [Moment(SubjectKey(people[4].id), Event.CONTACTED, NOON + 3 * YEAR)])
        names.append(new_id(letter))
        return names[-1]

    by = policy(desk, {**OLD, "since": "contacted"})
    done = Retaining(desk.repository, desk.eraser, meanwhile).run(ACME, by, now=NOON + 2 * YEAR)
    gone = {subject for receipt in done.receipts for subject in receipt.statement.subjects}
    assert gone == {people[0].id, people[1].id}


def test_a_field_is_emptied_and_its_record_stays() -> None:
    desk = in_memory()
    ann, bo = desk.add(person("Ann", about="likes tea"), person("Bo", about=""))
    field = policy(
        desk, {"effect": "destroy", "since": "created", "period": "P1Y", "kinds": ["person"], "field": "about"}
    )
    assert run(desk, field, after=YEAR + DAY) == Retained(depersonalised=1)
    assert desk.get(ann.id).content == attrs.evolve(ann.content, about="")
    assert run(desk, field, after=YEAR + DAY) == Retained()
    assert desk.get(bo.id).version == 1


def test_what_was_emptied_is_not_opened_again_until_somebody_writes_or_another_rule_says_more(desk: Desk) -> None:
    tenant, opened = next(TENANTS), list[object]()
    desk.repository.used = lambda _, slots: opened.extend(slots)
    ann, bo = desk.add(
        person("Ann", about="likes tea"), attrs.evolve(person("Bo", about=""), tags=("lead",)), tenant=tenant
    )
    field = {"effect": "destroy", "since": "created", "period": "P1Y", "kinds": ["person"]}
    about = policy(desk, {**field, "field": "about"})
    more = {**field, "field": "tags"}, {**field, "field": "phones", "period": "P9Y"}
    both = policy(desk, {**field, "field": "about"}, *more)
    retaining = Retaining(desk.repository, desk.eraser, new_id)

    def nightly(by: Policy) -> tuple[int, int]:
        """Return how many were emptied, and how often a record was opened."""
        opened.clear()
        done = retaining.run(tenant, by, now=NOON + YEAR + DAY).depersonalised
        return done, len(opened) - done  # what is written is sealed under a key that is used too

    assert nightly(about) == (1, 2)
    assert nightly(about) == (0, 0)
    assert nightly(both) == (1, 2)
    assert nightly(both) == (0, 0)
    kept = desk.get(bo.id, tenant=tenant)
    content = attrs.evolve(kept.content, about="likes coffee")
    desk.repository.change(kept, content, act=desk.act(tenant, now=NOON + YEAR))
    assert nightly(both) == (1, 1)
    assert nightly(both) == (0, 0)
    assert [desk.get(each.id, tenant=tenant).content.about for each in (ann, bo)] == ["", ""]
    assert desk.get(bo.id, tenant=tenant).content.tags == ()


def test_what_must_be_asked_is_listed_and_stays() -> None:
    desk = in_memory()
    ann, _ = desk.add(person("Ann"), person("Bo"), now=NOON)
    desk.trash(ann.id)
    asking = policy(desk, {**OLD, "effect": "ask"})
    done = run(desk, asking, after=2 * YEAR)
    assert len(done.asking) == 1
    assert run(desk, asking, after=2 * YEAR) == done


def test_an_obliged_record_outlives_its_person_whom_a_rule_destroys() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    desk.add(invoice(ann.id))
    (receipt,) = run(desk, policy(desk, OLD), after=2 * YEAR).receipts
    assert [(each.what, each.ground) for each in receipt.statement.destructions[0].remaining] == [
        ("invoice", "obligation")
    ]


def test_a_forecast_says_week_by_week_what_goes_and_touches_nothing() -> None:
    desk = in_memory()
    for week in range(4):
        desk.add(person(f"P{week}"), now=NOON + timedelta(weeks=week))
    desk.trash(desk.add(person("Thrown"))[0].id)
    before = len(desk.leaves())
    now = NOON + YEAR - timedelta(weeks=1)
    said = forecast(desk.repository, ACME, policy(desk, OLD), now=now, weeks=3)
    assert [(each.kind, each.effect, each.because, each.records) for each in said] == [
        ("person", Effect.DESTROY, ("r0",), 1),
        ("person", Effect.DESTROY, (TRASH.id,), 1),
        ("person", Effect.DESTROY, ("r0",), 1),
        ("person", Effect.DESTROY, ("r0",), 1),
    ]
    assert [(each.week - now).days for each in said] == [0, 0, 7, 14]
    assert len(desk.leaves()) == before


def test_a_simulation_says_what_would_go_sooner_and_what_later() -> None:
    desk = in_memory()
    desk.add(*(person(f"P{number}") for number in range(3)))
    old, new = policy(desk, OLD), policy(desk, {**OLD, "period": "P6M"})
    (sooner,) = simulate(desk.repository, ACME, old, amended(old, new, now=NOON + YEAR / 2), now=NOON + YEAR / 2)
    assert (sooner.kind, sooner.sooner, sooner.records) == ("person", True, 3)
    assert sooner.first == NOON + YEAR / 2 + 30 * DAY
    (later,) = simulate(desk.repository, ACME, new, old, now=NOON + YEAR / 2)
    assert (later.sooner, later.records, later.because) == (False, 3, ("r0",))


def test_why_something_is_still_here_is_said_with_its_rules_and_its_guards() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    (sealed,) = desk.store.read(ACME, [ann.id], admits=~Mark.NONE)
    by = policy(desk, OLD, {**OLD, "effect": "keep", "period": "P3Y"}, {**OLD, "since": "relationship_ended"})
    told = explain(desk.repository, sealed, by, now=NOON)
    assert isinstance(told.decision, Keep)
    assert told.decision.because == ("r0", "r1")
    assert [(each.rule.id, each.ends) for each in told.runs][2] == ("r2", None)
    desk.mark(ann.id, Mark.HELD)
    told = explain(desk.repository, sealed, by, now=NOON)
    assert told.decision == Keep(None, ("why",))
    assert [guard.mark for guard in told.guards] == [Mark.HELD]
    assert explain(desk.repository, sealed, NO_RULES, now=NOON).runs == ()


@pytest.mark.law("L10")
def test_shortening_a_rule_destroys_nothing_until_the_grace_period_has_passed() -> None:
    desk = in_memory()
    desk.add(person("Ann"))
    old, shorter = policy(desk, {**OLD, "period": "P5Y"}), policy(desk, OLD)
    changed = amended(old, shorter, now=NOON + 2 * YEAR)
    assert run(desk, changed, after=2 * YEAR + 29 * DAY) == Retained()
    (kept,) = desk.store.select(Where(tenant=ACME, kinds=("person",)), admits=~Mark.NONE, limit=1).records
    assert explain(desk.repository, kept, changed, now=NOON + 2 * YEAR).decision == Keep(
        NOON + 2 * YEAR + 30 * DAY, (GRACE, "r0")
    )
    assert run(desk, changed, after=2 * YEAR + 30 * DAY).destroyed == 1


@pytest.mark.law("L4")
def test_a_rule_that_keeps_spares_what_is_in_the_trash_and_whom_it_is_of_until_it_is_over() -> None:
    desk = in_memory()
    ann, bo = desk.add(person("Ann"), person("Bo"))
    (kept,) = desk.add(call(ann.id, "2026-02-01"))
    (cleared,) = desk.add(note(bo.id))
    for each in (ann, bo):
        desk.trash(each.id)
    by = policy(desk, {**NOTES, "effect": "keep", "since": "updated", "period": "P1Y"})
    Rulebook(desk.repository).set(document(by), act=desk.act(use=Use.ADMINISTER))
    sweep = Sweep(desk.store, desk.eraser, desk.vault, desk.repository.kinds, Rulebook(desk.repository).of)

    def run_at(after: timedelta) -> int:
        return sweep.run(ACME, now=NOON + after, new_erasure=lambda: new_id("e")).subjects

    assert run_at(31 * DAY) == 0
    assert desk.get(kept.id).trash is not None
    assert run_at(YEAR - DAY) == 0
    assert run_at(YEAR + DAY) == 2
    assert desk.store.read(ACME, [kept.id, cleared.id], admits=~Mark.NONE) == [None, None]


def test_policies_are_carried_out_in_turns_each_tenant_once_an_hour() -> None:
    desk = in_memory()
    for tenant in (ACME, ZETA):
        desk.add(person("Ann"), tenant=tenant)
    Rulebook(desk.repository).set(document(policy(desk, OLD)), act=desk.act(use=Use.ADMINISTER))
    upkeep = Upkeep(desk.repository, desk.eraser, secrets.token_bytes)
    now = NOON + 2 * YEAR
    assert upkeep.waiting(now, EVERYONE) == [ACME]
    assert upkeep.waiting(now, EVERYONE) == [ACME]  # it was not looked at to the end
    assert sum(each.subjects for each in upkeep.slices(ACME, now=now)) == 1
    assert upkeep.waiting(now + timedelta(minutes=59), EVERYONE) == []
    assert upkeep.waiting(now + timedelta(hours=1), EVERYONE) == [ACME]
    assert list(upkeep.slices(ZETA, now=now)) == []
