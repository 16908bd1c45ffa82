"""How long something is kept: facts and a policy in, one decision with its reasons out.

A rule says for what, from which event on and for how long, and what is done then. Four principles settle every case:
a guard or a rule that keeps beats every rule that lets go; of what keeps, the longest wins; a rule that names a kind or
a purpose beats one for everything; of what lets go, the shortest wins. What serves several purposes goes when none of
them needs it any more (GDPR Art. 5(1)(b), (e)).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from functools import cached_property
from typing import Final

import attrs

from capsule_core.calendar import Period, ends, latest
from capsule_core.moments import ACTIVITY, Before, Event, Events, Past, is_past

__all__ = [
    "GRACE",
    "NO_RULES",
    "TRASH",
    "Ask",
    "Clock",
    "Decision",
    "Destroy",
    "Effect",
    "Facts",
    "Keep",
    "Policy",
    "Rule",
    "Scope",
    "decide",
    "keeps",
    "past",
]


class Effect(enum.Enum):
    """What a rule has done when its period is over; of two that fall on one moment the first here wins."""

    KEEP = "keep"
    ASK = "ask"
    TRASH = "trash"
    DEPERSONALISE = "depersonalise"
    DESTROY = "destroy"


_EFFECTS: Final = tuple(Effect)


@attrs.frozen(kw_only=True)
class Rule:
    """One rule of a policy.

    It is about *kinds* (all, if none is named), about one *field* of theirs or whole records, for one *purpose* or any.
    Its *period* begins with the event *since*, or when the rule *after* is over. A *locked* one can be made longer, and
    is never shortened or taken out.
    """

    id: str
    effect: Effect
    period: Period
    since: Event | None = None
    after: str | None = None
    kinds: tuple[str, ...] = ()
    field: str | None = None
    purpose: str | None = None
    locked: bool = False

    @property
    def is_explicit(self) -> bool:
        """Whether it names what it is about."""
        return bool(self.kinds) or self.purpose is not None


GRACE: Final = "grace"
"""What is cited where a rule was changed and its grace period is not over."""

TRASH: Final = Rule(id="trash", effect=Effect.DESTROY, period=Period(hours=720), since=Event.TRASHED)
"""What is in the trash: no other rule lets it go, and nobody's policy is without this one."""


@attrs.frozen(kw_only=True, cache_hash=True)
class Scope:
    """What is decided on: records of a *kind*, or a *field* of them, kept for *purposes*."""

    kind: str
    field: str | None = None
    purposes: frozenset[str] = frozenset()


@attrs.frozen(kw_only=True)
class Facts:
    """One record or field: when what happened to it, and the ids of the reasons that guard it (holds, obligations)."""

    scope: Scope
    events: Events
    guards: tuple[str, ...] = ()


@attrs.frozen
class Keep:
    """It stays *until* then (None: nothing lets it go); the guards and rules that say so."""

    until: datetime | None
    because: tuple[str, ...]


@attrs.frozen
class Destroy:
    """It goes, and could have gone *since* then; *effect* says how: into the trash, depersonalised or for good."""

    since: datetime
    because: tuple[str, ...]
    effect: Effect = Effect.DESTROY


@attrs.frozen
class Ask:
    """Somebody has to look at it, since then."""

    since: datetime
    because: tuple[str, ...]


Decision = Keep | Destroy | Ask


@attrs.frozen(kw_only=True)
class Clock:
    """A rule ready to be asked: its *periods* follow one another after the event *since*; days are those of *zone*.

    One that throws away *restarts* when somebody takes back what was thrown away.
    """

    rule: Rule
    since: Event
    periods: tuple[Period, ...]
    zone: tzinfo
    caution: int = attrs.field(init=False)
    of_activity: bool = attrs.field(init=False)
    restarts: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "caution", _EFFECTS.index(self.rule.effect))
        object.__setattr__(self, "of_activity", self.since in ACTIVITY)
        object.__setattr__(self, "restarts", self.rule.effect is Effect.TRASH)

    def ended(self, start: datetime) -> datetime:
        """Tell when the rule is over for what began at *start*: never earlier for what began later."""
        over = start
        for period in self.periods:
            over = ends(over, period, self.zone)
        return over


@attrs.frozen
class Policy:
    """The rules of a tenant, in any order; days are those of *zone* (UTC if none is given).

    Until *grace* nothing goes that the policy *before* would have kept.
    """

    rules: tuple[Rule, ...] = ()
    zone: tzinfo = UTC
    before: Policy | None = None
    grace: datetime | None = None

    @cached_property
    def named(self) -> Mapping[str, Rule]:
        """The rules by their ids."""
        return {rule.id: rule for rule in self.rules}

    @cached_property
    def _bindings(self) -> dict[Scope, _Binding]:
        return {}

    def binding(self, scope: Scope) -> _Binding:
        """Return the rules that are about *scope*, sorted as :func:`decide` needs them."""
        found = self._bindings.get(scope)
        if found is None:
            found = self._bindings[scope] = _bound(self, scope)
        return found

    def clock(self, rule: Rule) -> Clock:
        """Return the event that a rule goes back to, and the periods that follow on it."""
        chain = [rule]
        while chain[0].after is not None and len(chain) <= len(self.rules):
            chain.insert(0, self.named[chain[0].after])
        if chain[0].since is None:
            raise ValueError("a rule begins with an event, or after a rule that does; policies.parse_policy checks it")
        return Clock(rule=rule, since=chain[0].since, periods=tuple(each.period for each in chain), zone=self.zone)


NO_RULES: Final = Policy()
"""What lets nothing go but the trash."""

_TRASHED: Final = (NO_RULES.clock(TRASH),)


@attrs.frozen
class _Binding:
    """The rules about one scope: those that keep, and for each purpose those that let go and are not outdone."""

    keeping: tuple[Clock, ...]
    letting_go: tuple[tuple[Clock, ...], ...]


_Due = tuple[datetime, int, str]
"""When a rule is over, how cautious its effect is, and its id: the first of several is the one that binds."""


def decide(facts: Facts, policy: Policy, now: datetime) -> Decision:
    """Decide on one record or field as things are at *now*.

    Total: there is one answer to everything. It cites the guards, or the rules that bind, and the grace period if that
    does; without what it does not cite the answer is the same.
    """
    if facts.guards:
        return Keep(None, tuple(sorted(facts.guards)))
    due = _due(facts, policy)
    if due is None:
        return Keep(None, ())
    at, effect, cited = due
    because = tuple(sorted(cited))
    if at > now:
        return Keep(at, because)
    return Ask(at, because) if effect is Effect.ASK else Destroy(at, because, effect)


def _due(facts: Facts, policy: Policy) -> tuple[datetime, Effect, frozenset[str]] | None:
    """Find when it goes, how, and by which rules; None if nothing lets it go."""
    binding = policy.binding(facts.scope)
    goes = _goes(facts.events, (_TRASHED,) if Event.TRASHED in facts.events else binding.letting_go)
    if goes is None:
        return None
    at, effect, because = goes
    kept = max(_dues(facts.events, binding.keeping), default=None)
    if kept is not None and kept[0] > at:
        at, because = kept[0], because | {kept[2]}
    if policy.before is None or policy.grace is None or policy.grace <= at:
        return at, effect, because
    before = _due(facts, policy.before)
    if before is not None and before[0] <= at:
        return at, effect, because
    return policy.grace if before is None else min(before[0], policy.grace), effect, because | {GRACE}


def _goes(events: Events, purposes: Sequence[Sequence[Clock]]) -> tuple[datetime, Effect, frozenset[str]] | None:
    """Find when the last of the *purposes* is served; None if one of them is never."""
    ended: list[_Due] = []
    for clocks in purposes:
        served = min(_dues(events, clocks), default=None)
        if served is None:
            return None
        ended.append(served)
    if len(ended) == 1:
        ((at, caution, rule),) = ended
        return at, _EFFECTS[caution], frozenset((rule,))
    at, caution = max(due[0] for due in ended), min(due[1] for due in ended)
    return at, _EFFECTS[caution], frozenset([due[2] for due in ended])


def _dues(events: Events, clocks: Sequence[Clock]) -> list[_Due]:
    found = []
    came = events[Event.CREATED]
    for clock in clocks:
        start = events.get(clock.since)
        if clock.of_activity and (start is None or start < came):
            start = came
        if start is not None and clock.restarts:
            start = max(start, events.get(Event.RESTORED, start))
        if start is not None:
            found.append((clock.ended(start), clock.caution, clock.rule.id))
    return found


def keeps(facts: Facts, policy: Policy, now: datetime) -> bool:
    """Tell whether a rule keeps it, whatever lets it go: one of the policy, or of the one before during its grace."""
    if any(due[0] > now for due in _dues(facts.events, policy.binding(facts.scope).keeping)):
        return True
    counts = policy.before is not None and policy.grace is not None and now < policy.grace
    return counts and keeps(facts, policy.before or NO_RULES, now)


def past(policy: Policy, scope: Scope, now: datetime, *, trashed: bool = False, closed: datetime | None = None) -> Past:
    """Say of what :func:`decide` would not say Keep at *now*, guards aside, as a condition that an index answers.

    It is about what is in the trash, or else about what is not; *closed* is when the tenant was.
    """
    binding = policy.binding(scope)
    letting_go = (_TRASHED,) if trashed else binding.letting_go
    groups = [tuple(_before(clock, now) for clock in clocks) for clocks in letting_go]
    groups += [(attrs.evolve(_before(clock, now), or_never=True),) for clock in binding.keeping]
    known = [settled for group in groups if (settled := _settled(group, closed)) is not None]
    if policy.before is not None and policy.grace is not None and now < policy.grace:
        known += past(policy.before, scope, now, trashed=trashed, closed=closed).groups
    return Past(tuple(dict.fromkeys(known)))


def _before(clock: Clock, now: datetime) -> Before:
    return Before(clock.since, latest(lambda start: clock.ended(start) <= now), restarts=clock.restarts)


def _settled(group: Sequence[Before], closed: datetime | None) -> tuple[Before, ...] | None:
    """Leave out what is known of the tenant; None if that alone decides for the group."""
    events = {} if closed is None else {Event.TENANT_CLOSED: closed}
    left: list[Before] = []
    for each in group:
        if each.event is not Event.TENANT_CLOSED:
            left.append(each)
        elif is_past(Past(((each,),)), events):
            if not each.restarts:
                return None
            left.append(Before(Event.RESTORED, each.at, or_never=True))  # of some it began anew since
    return tuple(left)


def _bound(policy: Policy, scope: Scope) -> _Binding:
    about = [
        rule for rule in policy.rules if rule.field == scope.field and (not rule.kinds or scope.kind in rule.kinds)
    ]
    keeping = [rule for rule in about if rule.effect is Effect.KEEP]
    letting_go = [rule for rule in about if rule.effect is not Effect.KEEP]
    return _Binding(
        tuple(policy.clock(rule) for rule in keeping if rule.purpose is None or rule.purpose in scope.purposes),
        tuple(
            tuple(map(policy.clock, _of_purpose(letting_go, purpose))) for purpose in sorted(scope.purposes) or (None,)
        ),
    )


def _of_purpose(rules: Sequence[Rule], purpose: str | None) -> list[Rule]:
    serving = [rule for rule in rules if rule.purpose is None or rule.purpose == purpose]
    return [rule for rule in serving if rule.is_explicit] or serving
