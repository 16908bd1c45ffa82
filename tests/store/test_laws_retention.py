"""A policy as SQL finds exactly what the pure function does not keep, on every adapter, and by an index."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from capsule_core.calendar import Period
from capsule_core.moments import OF_PEOPLE, Event, Moment
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.records import Mark, Restore, Sealed, Shelf, Slot, Trash, Where
from capsule_core.retention import Effect, Facts, Keep, Policy, Rule, Scope, decide, past
from capsule_core.testing.conformance import _cases as cases
from capsule_core.trash import PERIOD
from tests.core.policies import NOW, facts, policies

PLACES = 24
EVERY = ~Mark.NONE


def keep(store: Any, tenant: TenantId, known: Sequence[Facts]) -> None:
    """Keep a record for each of the facts, to which just that happened."""
    act = cases.act(tenant, witness=lambda _: b"leaf")
    drafts = [_sealed(tenant, place, each) for place, each in enumerate(known)]
    store.write(drafts, admits=EVERY, act=attrs.evolve(act, at=min(d.created for d in drafts)))
    unsaid = [Moment(d.subject, event, None) for d in drafts for event in OF_PEOPLE]
    said = [
        Moment(draft.subject, event, each.events[event])
        for draft, each in zip(drafts, known, strict=True)
        for event in OF_PEOPLE
        if event in each.events
    ]
    store.happen(tenant, unsaid + said)
    for draft, each in zip(drafts, known, strict=True):
        back = each.events.get(Event.RESTORED)
        if back is not None:
            own = Where(tenant=tenant, ids=(draft.id,))
            store.move(own, Trash(batch="a", at=back, until=back + PERIOD), admits=EVERY, act=act)
            store.move(own, Restore("a"), admits=EVERY, act=attrs.evolve(act, at=back))
        at = each.events.get(Event.TRASHED)
        if at is not None:
            trash = Trash(batch="b", at=at, until=at + PERIOD)
            store.move(Where(tenant=tenant, ids=(draft.id,)), trash, admits=EVERY, act=act)


def _sealed(tenant: TenantId, place: int, known: Facts) -> Sealed:
    created = known.events[Event.CREATED]
    name = RecordId(f"r{place}")
    return Sealed(
        tenant=tenant,
        kind=known.scope.kind,
        id=name,
        root=name,
        subject=SubjectKey(f"s{place}"),
        slot=Slot(1, place),
        version=1,
        at=created,
        created=created,
        updated=known.events.get(Event.UPDATED, created),
        blob=b"blob",
    )


TENANTS = (TenantId(f"t{number}") for number in range(10**9))


CLOSED = {Event.CREATED: NOW, Event.TENANT_CLOSED: NOW - timedelta(days=366)}
A_YEAR_AFTER = Rule(id="r", effect=Effect.TRASH, since=Event.TENANT_CLOSED, period=Period(years=1))
ANYBODY = Scope(kind="person")


@pytest.mark.law("L10")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(policy=policies(), known=st.lists(facts(), min_size=1, max_size=PLACES))
@example(
    policy=Policy(rules=(A_YEAR_AFTER,)),
    known=[Facts(scope=ANYBODY, events=CLOSED), Facts(scope=ANYBODY, events={**CLOSED, Event.RESTORED: NOW})],
)
def test_the_sql_form_of_a_policy_selects_what_the_pure_function_selects(
    store: Any, policy: Policy, known: list[Facts]
) -> None:
    tenant = next(TENANTS)
    keep(store, tenant, known)
    # One tenant is closed or not, and a kind has its purposes, whoever the record is of.
    closed = next((each.events[Event.TENANT_CLOSED] for each in known if Event.TENANT_CLOSED in each.events), None)
    for kind in {each.scope.kind for each in known}:
        scope = next(each.scope for each in known if each.scope.kind == kind)
        for shelf in (Shelf.LIVE, Shelf.TRASHED):
            condition = past(policy, scope, NOW, trashed=shelf is Shelf.TRASHED, closed=closed)
            where = Where(tenant=tenant, shelf=shelf, kinds=(kind,), past=condition)
            found = {each.id for each in store.select(where, admits=EVERY, limit=PLACES).records}
            assert found == {
                f"r{place}"
                for place, each in enumerate(known)
                if each.scope.kind == kind
                and (Event.TRASHED in each.events) == (shelf is Shelf.TRASHED)
                and not isinstance(decide(_closed(each, scope, closed), policy, NOW), Keep)
            }
            assert store.count(where, admits=EVERY) == len(found)


def _closed(known: Facts, scope: Scope, closed: Any) -> Facts:
    events = {event: at for event, at in known.events.items() if event is not Event.TENANT_CLOSED}
    return Facts(scope=scope, events=events if closed is None else {**events, Event.TENANT_CLOSED: closed})
