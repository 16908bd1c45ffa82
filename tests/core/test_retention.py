"""What is kept, until when, and why: the four principles, every answer with its reasons, never early."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.calendar import Period
from capsule_core.moments import Event, began, is_past
from capsule_core.retention import (
    GRACE,
    NO_RULES,
    TRASH,
    Ask,
    Decision,
    Destroy,
    Effect,
    Facts,
    Keep,
    Policy,
    Rule,
    Scope,
    decide,
    past,
)
from tests.core.policies import NOW, facts, leads_to, moments, periods, policies

MADE = datetime(2015, 6, 1, 9, tzinfo=UTC)
DOCUMENT = Scope(kind="document", purposes=frozenset({"work"}))
DAY = timedelta(days=1)


def keeps(name: str, years: int, **more: object) -> Rule:
    return attrs.evolve(Rule(id=name, effect=Effect.KEEP, period=Period(years=years), since=Event.CREATED), **more)


def deletes(name: str, years: int, **more: object) -> Rule:
    return attrs.evolve(Rule(id=name, effect=Effect.DESTROY, period=Period(years=years), since=Event.CREATED), **more)


LABEL = {"kinds": ("document",)}


@pytest.mark.law("L10")
@pytest.mark.parametrize(
    ("rules", "years", "because"),
    [
        pytest.param([deletes("a", 3), keeps("b", 5, **LABEL)], 5, ("a", "b"), id="keeping wins over deleting"),
        pytest.param([keeps("a", 5), keeps("b", 10), deletes("c", 1)], 10, ("b", "c"), id="the longest keeps"),
        pytest.param(
            [deletes("a", 5), deletes("b", 10), deletes("c", 7, **LABEL)], 7, ("c",), id="a label over policies"
        ),
        pytest.param([keeps("a", 10), deletes("b", 7, **LABEL)], 10, ("a", "b"), id="kept, then deleted by the label"),
        pytest.param([deletes("a", 10), deletes("b", 5)], 5, ("b",), id="the shortest deletes"),
        pytest.param(
            [deletes("a", 5), keeps("b", 3), deletes("b2", 3), keeps("c", 7, **LABEL)],
            7,
            ("b2", "c"),
            id="three settings on one item",
        ),
    ],
)
def test_published_examples_of_the_four_principles(rules: list[Rule], years: int, because: tuple[str, ...]) -> None:
    """As Microsoft Purview publishes them under "The principles of retention, or what takes precedence?"."""
    policy, about = Policy(tuple(rules)), Facts(scope=DOCUMENT, events={Event.CREATED: MADE})
    over = datetime(MADE.year + years, 6, 2, tzinfo=UTC)
    assert decide(about, policy, over - timedelta(microseconds=1)) == Keep(over, because)
    assert decide(about, policy, over) == Destroy(over, because)


def test_what_nothing_lets_go_stays_and_what_is_guarded_stays_longer() -> None:
    old = Facts(scope=DOCUMENT, events={Event.CREATED: MADE})
    assert decide(old, NO_RULES, NOW) == Keep(None, ())
    assert decide(attrs.evolve(old, guards=("h2", "h1")), Policy((deletes("a", 1),)), NOW) == Keep(None, ("h1", "h2"))


@pytest.mark.law("L2")
@given(at=moments, policy=policies())
def test_the_trash_is_never_emptied_early_and_no_rule_but_one_that_keeps_has_a_say(
    at: datetime, policy: Policy
) -> None:
    trashed = Facts(scope=Scope(kind="person"), events={Event.CREATED: MADE, Event.TRASHED: at})
    until = at + timedelta(hours=720)
    assert isinstance(decide(trashed, policy, until - timedelta(microseconds=1)), Keep)
    rules = policy.rules if policy.before is None else policy.rules + policy.before.rules
    if not any(rule.effect is Effect.KEEP for rule in rules):
        assert decide(trashed, policy, until) == Destroy(until, (TRASH.id,))


def _due(decision: Decision) -> datetime:
    never = datetime(9999, 1, 1, tzinfo=UTC)
    return (decision.until or never) if isinstance(decision, Keep) else decision.since


@pytest.mark.law("L10")
@given(about=facts(guarded=True), policy=policies(), period=periods, since=st.sampled_from(Event))
def test_one_more_rule_that_keeps_brings_nothing_forward(
    about: Facts, policy: Policy, period: Period, since: Event
) -> None:
    more = Rule(id="more", effect=Effect.KEEP, period=period, since=since)
    assert _due(decide(about, policy, NOW)) <= _due(
        decide(about, attrs.evolve(policy, rules=(*policy.rules, more)), NOW)
    )


@pytest.mark.law("L10")
@given(about=facts(guarded=True), policy=policies(), period=periods)
def test_one_more_rule_that_deletes_does_not_shorten_what_is_kept(about: Facts, policy: Policy, period: Period) -> None:
    more = Rule(id="more", effect=Effect.DESTROY, period=period, since=Event.CREATED)
    changed = attrs.evolve(policy, rules=(*policy.rules, more))
    goes = _due(decide(about, changed, NOW))
    for clock in policy.binding(about.scope).keeping:
        start = began(about.events, clock.since)
        assert start is None or goes >= clock.ended(start)


@pytest.mark.law("L10")
@given(about=facts(guarded=True), policy=policies(), chance=st.randoms(use_true_random=False))
def test_the_order_of_rules_is_irrelevant(about: Facts, policy: Policy, chance: object) -> None:
    shuffled = list(policy.rules)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert decide(about, attrs.evolve(policy, rules=tuple(shuffled)), NOW) == decide(about, policy, NOW)


@pytest.mark.law("L10")
@given(about=facts(), policy=policies(graced=False))
def test_what_is_not_cited_does_not_matter_and_what_is_does(about: Facts, policy: Policy) -> None:
    decision = decide(about, policy, NOW)
    cited = leads_to(policy, set(decision.because))
    bare = Policy(tuple(rule for rule in policy.rules if rule.id in cited), policy.zone)
    assert decide(about, bare, NOW) == decision
    for name in set(decision.because) - {TRASH.id}:
        if not any(rule.after == name for rule in policy.rules):
            less = Policy(tuple(rule for rule in policy.rules if rule.id != name), policy.zone)
            assert decide(about, less, NOW) != decision


@pytest.mark.law("L10")
@given(about=facts(), policy=policies())
def test_what_is_past_is_what_is_not_kept(about: Facts, policy: Policy) -> None:
    condition = past(
        policy,
        about.scope,
        NOW,
        trashed=Event.TRASHED in about.events,
        closed=about.events.get(Event.TENANT_CLOSED),
    )
    assert is_past(condition, about.events) == (not isinstance(decide(about, policy, NOW), Keep))


@pytest.mark.law("L10")
@given(about=facts(), policy=policies(), later=st.timedeltas(timedelta(0), timedelta(days=900)))
def test_an_answer_is_the_same_until_its_time_has_come(about: Facts, policy: Policy, later: timedelta) -> None:
    now, then = decide(about, policy, NOW), decide(about, policy, NOW + later)
    if not isinstance(now, Keep) or now.until is None or now.until > NOW + later:
        assert then == now
    else:
        assert (then.since, then.because) == (now.until, now.because)  # type: ignore[union-attr]


@given(about=facts(), old=policies(graced=False), new=policies(graced=False), days=st.integers(1, 90))
def test_a_changed_policy_lets_nothing_go_before_its_grace_is_over_that_stayed_by_the_old(
    about: Facts, old: Policy, new: Policy, days: int
) -> None:
    changed = attrs.evolve(new, before=old, grace=NOW + days * DAY)
    for now in (NOW, NOW + days * DAY - timedelta(microseconds=1)):
        gone = not isinstance(decide(about, changed, now), Keep)
        assert gone == (not any(isinstance(decide(about, each, now), Keep) for each in (old, new)))
    assert isinstance(decide(about, changed, NOW + days * DAY), Keep) == isinstance(
        decide(about, new, NOW + days * DAY), Keep
    )


def test_the_grace_period_is_cited_where_it_binds() -> None:
    about = Facts(scope=DOCUMENT, events={Event.CREATED: MADE})
    changed = Policy((deletes("a", 1),), before=Policy((deletes("a", 20),)), grace=NOW + 30 * DAY)
    assert decide(about, changed, NOW) == Keep(NOW + 30 * DAY, ("a", GRACE))


def test_of_two_effects_at_one_moment_the_more_cautious_is_done() -> None:
    about = Facts(scope=DOCUMENT, events={Event.CREATED: MADE})
    effects = [Effect.DESTROY, Effect.DEPERSONALISE, Effect.TRASH]
    for number, cautious in enumerate(effects[1:], 1):
        rules = tuple(deletes(f"r{place}", 5, effect=each) for place, each in enumerate(effects[: number + 1]))
        assert decide(about, Policy(rules), NOW).effect is cautious  # type: ignore[union-attr]
    assert isinstance(decide(about, Policy((deletes("a", 5), deletes("b", 5, effect=Effect.ASK))), NOW), Ask)


def test_what_serves_two_purposes_goes_when_both_are_over_and_never_if_one_has_no_end() -> None:
    both = Facts(scope=Scope(kind="document", purposes=frozenset({"a", "b"})), events={Event.CREATED: MADE})
    rules = (deletes("r", 2, purpose="a"), deletes("s", 6, purpose="b"))
    assert decide(both, Policy(rules), NOW).since.year == MADE.year + 6  # type: ignore[union-attr]
    assert decide(both, Policy(rules), NOW).because == ("r", "s")
    assert decide(both, Policy(rules[:1]), NOW) == Keep(None, ())


def test_a_rule_that_comes_after_another_begins_when_that_one_ends() -> None:
    rules = (keeps("tax", 10), deletes("then", 1, since=None, after="tax"))
    about = Facts(scope=DOCUMENT, events={Event.CREATED: MADE})
    assert decide(about, Policy(rules), NOW) == Keep(datetime(2026, 6, 3, tzinfo=UTC), ("then",))


def test_a_policy_that_runs_in_a_circle_is_not_asked_for_ever() -> None:
    circle = Policy((deletes("a", 1, since=None, after="b"), deletes("b", 1, since=None, after="a")))
    with pytest.raises(ValueError, match="parse_policy"):
        decide(Facts(scope=DOCUMENT, events={Event.CREATED: MADE}), circle, NOW)
