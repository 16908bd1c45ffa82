"""Policies, and what may have happened to a record, as Hypothesis draws them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from capsule_core.calendar import Period
from capsule_core.moments import Event
from capsule_core.retention import Effect, Facts, Policy, Rule, Scope

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KINDS = ("person", "invoice")
PURPOSES = ("crm", "billing")
_GOES = tuple(event for event in Event if event is not Event.TRASHED)

periods = st.one_of(
    st.builds(Period, years=st.integers(1, 4)),
    st.builds(Period, months=st.integers(1, 30)),
    st.builds(Period, days=st.integers(1, 800)),
    st.builds(Period, hours=st.integers(1, 20_000)),
)
moments = st.timedeltas(timedelta(0), timedelta(days=2250)).map(lambda age: NOW - age)


@st.composite
def policies(draw: st.DrawFn, *, most: int = 5, graced: bool = True) -> Policy:
    rules: list[Rule] = []
    for number in range(draw(st.integers(0, most))):
        effect = draw(st.sampled_from(Effect))
        earlier = [rule.id for rule in rules if effect is Effect.KEEP or Event.TRASHED is not _origin(rule, rules)]
        after = draw(st.sampled_from(earlier)) if earlier and draw(st.integers(0, 4)) == 0 else None
        since = None if after else draw(st.sampled_from(tuple(Event) if effect is Effect.KEEP else _GOES))
        rules.append(
            Rule(
                id=f"r{number}",
                effect=effect,
                period=draw(periods),
                since=since,
                after=after,
                kinds=tuple(draw(st.lists(st.sampled_from(KINDS), max_size=2, unique=True))),
                purpose=draw(st.none() | st.sampled_from(PURPOSES)),
            )
        )
    zone = draw(st.sampled_from([UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("Pacific/Auckland")]))
    before, grace = None, None
    if graced and draw(st.booleans()):
        before = draw(policies(most=most, graced=False))
        grace = NOW + draw(st.timedeltas(timedelta(days=-10), timedelta(days=60)))
    return Policy(tuple(rules), zone, before, grace)


@st.composite
def facts(draw: st.DrawFn, *, guarded: bool = False) -> Facts:
    created = draw(moments)
    events: dict[Event, datetime] = {Event.CREATED: created}
    for event in Event:
        if event is not Event.CREATED and draw(st.booleans()):
            events[event] = draw(moments)
    purposes = draw(st.frozensets(st.sampled_from(PURPOSES)))
    scope = Scope(kind=draw(st.sampled_from(KINDS)), purposes=purposes)
    guards = tuple(draw(st.lists(st.sampled_from(["hold 1", "hold 2"]), unique=True))) if guarded else ()
    return Facts(scope=scope, events=events, guards=guards)


def leads_to(policy: Policy, ids: set[str]) -> set[str]:
    """Name rules, and those that they come after."""
    found = set(ids)
    for rule in reversed(policy.rules):
        if rule.id in found and rule.after:
            found.add(rule.after)
    return found


def _origin(rule: Rule, rules: list[Rule]) -> Event | None:
    named = {each.id: each for each in rules}
    while rule.after:
        rule = named[rule.after]
    return rule.since
