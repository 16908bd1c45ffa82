"""What a rule of the tenant's policy spares, although its time in the trash is over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from capsule_core.names import SubjectKey, TenantId
from capsule_core.personal import Kind
from capsule_core.policies import governed, scope_of
from capsule_core.records import Mark, Sealed, Shelf, Where, events_of
from capsule_core.retention import Effect, Facts, Policy, keeps
from capsule_core.stores import Store

__all__ = ["unspared"]

_AT_ONCE: Final = 500


def unspared(
    store: Store,
    kinds: Mapping[str, Kind],
    policy: Policy,
    records: Sequence[Sealed],
    *,
    now: datetime,
    closed: datetime | None = None,
) -> list[Sealed]:
    """Return those of *records*, of one tenant, that no rule keeps; of people, if none keeps anything of theirs.

    *closed* is since when the tenant is closed, None if it is not.
    """
    keeping = [name for name in governed(kinds) if _has_a_say(policy, name)]
    if not records or not keeping:
        return list(records)

    def kept(some: Sequence[Sealed]) -> Iterator[Sealed]:
        ours = [each for each in some if each.kind in keeping]
        return _kept(store, kinds, policy, ours, now=now, closed=closed)

    spared = {record.id for record in kept(records)}
    people = tuple(dict.fromkeys(each.subject for each in records if kinds[each.kind].is_root))
    theirs = {each.subject for page in _of(store, records[0].tenant, people, keeping) for each in kept(page)}
    return [each for each in records if each.id not in spared and each.subject not in theirs]


def _has_a_say(policy: Policy | None, kind: str) -> bool:
    """Tell whether a rule about *kind* keeps anything, now or before a change."""
    if policy is None:
        return False
    about = (rule for rule in policy.rules if rule.effect is Effect.KEEP and (not rule.kinds or kind in rule.kinds))
    return any(about) or _has_a_say(policy.before, kind)


def _kept(
    store: Store,
    kinds: Mapping[str, Kind],
    policy: Policy,
    records: Sequence[Sealed],
    *,
    now: datetime,
    closed: datetime | None,
) -> Iterator[Sealed]:
    if not records:
        return
    happened = store.happened(records[0].tenant, [record.subject for record in records])
    for record, events in zip(records, happened, strict=True):
        if keeps(Facts(scope=scope_of(kinds[record.kind]), events=events_of(record, events, closed)), policy, now):
            yield record


def _of(
    store: Store, tenant: TenantId, people: tuple[SubjectKey, ...], kinds: Sequence[str]
) -> Iterator[Sequence[Sealed]]:
    where, after = Where(tenant=tenant, subjects=people, kinds=tuple(kinds), shelf=Shelf.ANY), None
    while people:
        page = store.select(where, admits=~Mark.NONE, limit=_AT_ONCE, after=after)
        yield page.records
        after = page.after
        if after is None:
            return
