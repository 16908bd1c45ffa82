"""What a policy will have go, and when; what another would change; why one record is still here. Nothing is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import attrs

from capsule_core.closure import Closure
from capsule_core.moments import Events, began
from capsule_core.names import TenantId
from capsule_core.personal import Kind
from capsule_core.policies import governed, scope_of
from capsule_core.protection import protectors
from capsule_core.records import GUARDED, Reason, Sealed, Shelf, events_of
from capsule_core.repository import Repository
from capsule_core.retaining import decided
from capsule_core.retention import Ask, Decision, Effect, Facts, Keep, Policy, Rule, Scope, decide

__all__ = ["Change", "Explanation", "Forecast", "Run", "explain", "forecast", "simulate"]

_WEEK: Final = timedelta(weeks=1)


@attrs.frozen
class Forecast:
    """*records* of *kind* that go in the *week* that begins then, how, and by which rules."""

    week: datetime
    kind: str
    effect: Effect
    because: tuple[str, ...]
    records: int


@attrs.frozen
class Change:
    """*records* of *kind* that would go *sooner*, or later, than now; *first* is when the first of them does."""

    kind: str
    sooner: bool
    because: tuple[str, ...]
    records: int
    first: datetime


@attrs.frozen
class Run:
    """One rule about a record: since when it runs (None: its event has not happened), and until when."""

    rule: Rule
    began: datetime | None
    ends: datetime | None


@attrs.frozen
class Explanation:
    """Why a record is still here: what is decided on it, from what happened, by which rules, and who else keeps it."""

    decision: Decision
    events: Events
    runs: tuple[Run, ...]
    guards: tuple[Reason, ...]


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
    counts: Counter[tuple[datetime, str, Effect, tuple[str, ...]]] = Counter()
    for scope, shelf in _scopes(repository.kinds):
        for page in decided(repository, tenant, scope, policy, now=now + weeks * _WEEK, shelf=shelf):
            for _, decision in page:
                when, effect = _going(decision)
                if when is not None:
                    week = now + max((when - now) // _WEEK, 0) * _WEEK
                    counts[week, scope.kind, effect, decision.because] += 1
            seen(len(page))
    return [Forecast(*key, records) for key, records in sorted(counts.items(), key=lambda item: _sortable(item[0]))]


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
    found: dict[tuple[str, bool, tuple[str, ...]], tuple[int, datetime]] = {}
    for scope, shelf in _scopes(repository.kinds):
        for policy, other in ((after, before), (before, after)):
            for page in decided(repository, tenant, scope, policy, now=horizon, shelf=shelf):
                for moved in _moved(repository, scope, page, other, horizon):
                    _count(found, scope.kind, moved, sooner=policy is after)
                seen(len(page))
    return [Change(*key, *told) for key, told in sorted(found.items())]


def explain(repository: Repository, record: Sealed, policy: Policy, *, now: datetime) -> Explanation:
    """Say why *record* is still here, until when, and by which rules."""
    store = repository.store
    (happened,) = store.happened(record.tenant, [record.subject])
    events = events_of(record, happened, Closure(repository).since(record.tenant))
    guards = tuple(
        reason
        for reason in store.reasons(record.tenant, [record.subject, *protectors(record.subject)])
        if reason.mark & GUARDED and reason.record in {None, record.id}
    )
    scope = scope_of(repository.kinds[record.kind])
    facts = Facts(scope=scope, events=events, guards=tuple(dict.fromkeys(reason.id for reason in guards)))
    runs = tuple(_run(rule, policy, events) for rule in policy.rules if _is_about(rule, scope))
    return Explanation(decide(facts, policy, now), events, runs, guards)


def _scopes(kinds: Mapping[str, Kind]) -> Iterator[tuple[Scope, Shelf]]:
    for declared in governed(kinds).values():
        for shelf in (Shelf.LIVE, Shelf.TRASHED):
            yield scope_of(declared), shelf


def _going(decision: Decision) -> tuple[datetime | None, Effect]:
    if isinstance(decision, Keep):
        return None, Effect.KEEP
    return decision.since, Effect.ASK if isinstance(decision, Ask) else decision.effect


def _sortable(key: tuple[datetime, str, Effect, tuple[str, ...]]) -> tuple[datetime, str, str, tuple[str, ...]]:
    week, kind, effect, because = key
    return week, kind, effect.value, because


def _moved(
    repository: Repository,
    scope: Scope,
    page: Sequence[tuple[Sealed, Decision]],
    other: Policy,
    horizon: datetime,
) -> Iterator[tuple[datetime, tuple[str, ...]]]:
    """Find what goes sooner by the decisions of *page* than by the policy *other*."""
    if not page:
        return
    tenant = page[0][0].tenant
    happened = repository.store.happened(tenant, [record.subject for record, _ in page])
    closed = Closure(repository).since(tenant)
    for (record, decision), each in zip(page, happened, strict=True):
        when = _going(decision)[0]
        facts = Facts(scope=scope, events=events_of(record, each, closed))
        else_when = _going(decide(facts, other, horizon))[0]
        if when is not None and (else_when is None or when < else_when):
            yield when, decision.because


def _count(
    found: dict[tuple[str, bool, tuple[str, ...]], tuple[int, datetime]],
    kind: str,
    moved: tuple[datetime, tuple[str, ...]],
    *,
    sooner: bool,
) -> None:
    when, because = moved
    records, first = found.get((kind, sooner, because), (0, when))
    found[kind, sooner, because] = records + 1, min(first, when)


def _is_about(rule: Rule, scope: Scope) -> bool:
    of_purpose = rule.purpose is None or rule.purpose in scope.purposes
    return rule.field == scope.field and of_purpose and (not rule.kinds or scope.kind in rule.kinds)


def _run(rule: Rule, policy: Policy, events: Events) -> Run:
    clock = policy.clock(rule)
    start = began(events, clock.since)
    return Run(rule, start, None if start is None else clock.ended(start))
