"""What a policy will have go, and when; what another would change; why one record is still here. Nothing is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Final

import attrs

from capsule_core.closure import Closure
from capsule_core.moments import Events, began
from capsule_core.names import TenantId
from capsule_core.personal import Kind
from capsule_core.policies import governed, scope_of
from capsule_core.records import Mark, Reason, Sealed, Shelf, events_of
from capsule_core.repository import Repository
from capsule_core.retaining import decided
from capsule_core.retention import Ask, Decision, Effect, Facts, Keep, Policy, Rule, Scope, decide
from capsule_core.waits import waiting_for

__all__ = ["Change", "Explanation", "Forecast", "Run", "explain", "forecast", "simulate"]

_WEEK: Final = timedelta(weeks=1)
_Key = tuple[datetime, str, Effect, tuple[str, ...], Mark]
_Changed = tuple[str, bool, tuple[str, ...], Mark]
_Moved = tuple[datetime, tuple[str, ...], Mark]


@attrs.frozen
class Forecast:
    """*records* of *kind* that go in the *week* that begins then, how, and by which rules.

    Those that carry *guards* (held, obliged, restricted), or belong to who does, only when the last of these has ended.
    """

    week: datetime
    kind: str
    effect: Effect
    because: tuple[str, ...]
    records: int
    guards: Mark = Mark.NONE


@attrs.frozen
class Change:
    """*records* of *kind* that would go *sooner*, or later, than now; *first* is when the first of them does.

    *guards* as in :class:`Forecast`.
    """

    kind: str
    sooner: bool
    because: tuple[str, ...]
    records: int
    first: datetime
    guards: Mark = Mark.NONE


@attrs.frozen
class Run:
    """One rule about a record: since when it runs (None: its event has not happened), and until when."""

    rule: Rule
    began: datetime | None
    ends: datetime | None


@attrs.frozen
class Explanation:
    """Why a record is still here: what is decided on it, from what happened, by which rules, and who else keeps it.

    *otherwise* is what would be decided if nothing guarded it; None if nothing does.
    """

    decision: Decision
    events: Events
    runs: tuple[Run, ...]
    guards: tuple[Reason, ...]
    otherwise: Decision | None = None


def forecast(
    repository: Repository,
    tenant: TenantId,
    policy: Policy,
    *,
    now: datetime,
    weeks: int = 12,
    seen: Callable[[int], object] = lambda _: None,
) -> list[Forecast]:
    """Say what goes week by week, from *now* on; what is due already goes in the first. *seen* hears the progress."""
    counts: Counter[_Key] = Counter()
    for scope, shelf in _scopes(repository.kinds):
        due = decided(repository, tenant, scope, policy, now=now + weeks * _WEEK, shelf=shelf, guarded=True)
        for page in due:
            for (_, decision), guards in zip(page, _guards(repository, tenant, page), strict=True):
                when, effect = _going(decision)
                if when is not None:
                    week = now + max((when - now) // _WEEK, 0) * _WEEK
                    counts[week, scope.kind, effect, decision.because, guards] += 1
            seen(len(page))
    ordered = sorted(counts.items(), key=lambda item: _sortable(item[0]))
    return [Forecast(*key[:4], records, key[4]) for key, records in ordered]


def simulate(
    repository: Repository,
    tenant: TenantId,
    before: Policy,
    after: Policy,
    *,
    now: datetime,
    weeks: int = 52,
    seen: Callable[[int], object] = lambda _: None,
) -> list[Change]:
    """Say which of the records that go within some *weeks* would go sooner or later by another policy."""
    horizon = now + weeks * _WEEK
    found: dict[_Changed, tuple[int, datetime]] = {}
    for scope, shelf in _scopes(repository.kinds):
        for policy, other in ((after, before), (before, after)):
            for page in decided(repository, tenant, scope, policy, now=horizon, shelf=shelf, guarded=True):
                for moved in _moved(repository, scope, page, other, horizon):
                    _count(found, scope.kind, moved, sooner=policy is after)
                seen(len(page))
    ordered = sorted(found.items(), key=lambda item: (*item[0][:3], int(item[0][3])))
    return [Change(*key[:3], *told, key[3]) for key, told in ordered]


def explain(repository: Repository, record: Sealed, policy: Policy, *, now: datetime) -> Explanation:
    """Say why *record* is still here, until when, and by which rules."""
    (happened,) = repository.store.happened(record.tenant, [record.subject])
    events = events_of(record, happened, Closure(repository).since(record.tenant))
    scope = scope_of(repository.kinds[record.kind])
    otherwise = decide(Facts(scope=scope, events=events), policy, now)
    going = _going(_in_the_end(Facts(scope=scope, events=events), policy, otherwise))[1]
    (guards,) = waiting_for(repository.store, repository.kinds, record.tenant, [(record, going)])
    runs = tuple(_run(rule, policy, events) for rule in policy.rules if _is_about(rule, scope))
    if not guards:
        return Explanation(otherwise, events, runs, ())
    facts = Facts(scope=scope, events=events, guards=tuple(dict.fromkeys(reason.id for reason in guards)))
    return Explanation(decide(facts, policy, now), events, runs, guards, otherwise)


def _in_the_end(facts: Facts, policy: Policy, decision: Decision) -> Decision:
    """Decide when what keeps it for now is over."""
    until = decision.until if isinstance(decision, Keep) else None
    return decision if until is None else decide(facts, policy, until)


def _guards(repository: Repository, tenant: TenantId, page: Sequence[tuple[Sealed, Decision]]) -> list[Mark]:
    """Say what each of the records waits for that are to go."""
    going = [(record, _going(decision)[1]) for record, decision in page]
    found = waiting_for(repository.store, repository.kinds, tenant, going)
    return [reduce(or_, (reason.mark for reason in reasons), Mark.NONE) for reasons in found]


def _scopes(kinds: Mapping[str, Kind]) -> Iterator[tuple[Scope, Shelf]]:
    for declared in governed(kinds).values():
        for shelf in (Shelf.LIVE, Shelf.TRASHED):
            yield scope_of(declared), shelf


def _going(decision: Decision) -> tuple[datetime | None, Effect]:
    if isinstance(decision, Keep):
        return None, Effect.KEEP
    return decision.since, Effect.ASK if isinstance(decision, Ask) else decision.effect


def _sortable(key: _Key) -> tuple[datetime, str, str, tuple[str, ...], int]:
    week, kind, effect, because, guards = key
    return week, kind, effect.value, because, int(guards)


def _moved(
    repository: Repository,
    scope: Scope,
    page: Sequence[tuple[Sealed, Decision]],
    other: Policy,
    horizon: datetime,
) -> Iterator[_Moved]:
    """Find what goes sooner by the decisions of *page* than by the policy *other*."""
    if not page:
        return
    tenant = page[0][0].tenant
    happened = repository.store.happened(tenant, [record.subject for record, _ in page])
    closed = Closure(repository).since(tenant)
    guarded = _guards(repository, tenant, page)
    for (record, decision), each, guards in zip(page, happened, guarded, strict=True):
        when = _going(decision)[0]
        facts = Facts(scope=scope, events=events_of(record, each, closed))
        else_when = _going(decide(facts, other, horizon))[0]
        if when is not None and (else_when is None or when < else_when):
            yield when, decision.because, guards


def _count(
    found: dict[_Changed, tuple[int, datetime]],
    kind: str,
    moved: _Moved,
    *,
    sooner: bool,
) -> None:
    when, because, guards = moved
    records, first = found.get((kind, sooner, because, guards), (0, when))
    found[kind, sooner, because, guards] = records + 1, min(first, when)


def _is_about(rule: Rule, scope: Scope) -> bool:
    of_purpose = rule.purpose is None or rule.purpose in scope.purposes
    return rule.field == scope.field and of_purpose and (not rule.kinds or scope.kind in rule.kinds)


def _run(rule: Rule, policy: Policy, events: Events) -> Run:
    clock = policy.clock(rule)
    start = began(events, clock.since, restarts=clock.restarts)
    return Run(rule, start, None if start is None else clock.ended(start))
