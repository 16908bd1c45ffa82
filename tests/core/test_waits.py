"""What a forecast says goes now is what a run then does; what it says waits for a hold goes when the hold has ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capsule_core.custody import Custody
from capsule_core.forecasts import Forecast, explain, forecast, simulate
from capsule_core.holds import Ground, Hold
from capsule_core.kept import Kept
from capsule_core.names import TenantId
from capsule_core.policies import parse_policy
from capsule_core.records import Mark, Shelf, Where
from capsule_core.retaining import Retaining
from capsule_core.retention import NO_RULES, Destroy, Effect, Keep, Policy
from capsule_core.uses import Use
from tests.core.desk import NOON, Desk, in_memory, new_id, note, person

YEAR, DAY = timedelta(days=366), timedelta(days=1)
LATER = NOON + YEAR + DAY
NAMES = (TenantId(f"waiting{number}") for number in range(10**9))
EVERY = ~Mark.NONE
GRASP = st.sampled_from(["", "person", "record", "entry"])
"""What of somebody is held: nothing, they themselves, their own record, or an entry of theirs."""


@pytest.fixture
def desk() -> Desk:
    return in_memory()


def policy(desk: Desk, effect: str, kind: str) -> Policy:
    rule = {"id": "old", "effect": effect, "since": "created", "period": "P1Y", "kinds": [kind]}
    return parse_policy(json.dumps({"rules": [rule]}), desk.repository.kinds)


def held(desk: Desk, tenant: TenantId, **on: Any) -> Kept[Hold]:
    said = {"ground": Ground.LEGAL_CLAIMS, "authority": "the court", "placed_by": "user/u1", **on}
    hold = Hold(id=new_id("h"), placed_at=NOON.isoformat(), **said)
    return Custody(desk.repository).place(hold, act=desk.act(tenant, use=Use.STORE))


def release(desk: Desk, holds: Sequence[Kept[Hold]]) -> None:
    for hold in holds:
        Custody(desk.repository).release(hold.id, act=desk.act(hold.tenant, use=Use.ADMINISTER))


def live(desk: Desk, tenant: TenantId, kind: str) -> int:
    return desk.store.count(Where(tenant=tenant, kinds=(kind,), shelf=Shelf.LIVE), admits=EVERY)


def going(said: Sequence[Forecast], *, waiting: bool) -> int:
    return sum(each.records for each in said if bool(each.guards) == waiting)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    grasps=st.lists(GRASP, min_size=1, max_size=4),
    everybody=st.booleans(),
    by=st.sampled_from([("destroy", "person"), ("trash", "person"), ("destroy", "entry"), ("trash", "entry")]),
)
@pytest.mark.law("L4")
def test_what_is_said_to_go_goes_and_what_is_said_to_wait_goes_when_nothing_is_held_any_more(
    desk: Desk, grasps: list[str], everybody: bool, by: tuple[str, str]
) -> None:
    tenant, (effect, kind) = next(NAMES), by
    holds = [held(desk, tenant)] if everybody else []
    for grasp in grasps:
        (somebody,) = desk.add(person("Ann"), tenant=tenant)
        (entry,) = desk.add(note(somebody.id), tenant=tenant)
        on = {"person": {"subject": somebody.id}, "record": {"record": somebody.id}, "entry": {"record": entry.id}}
        holds += [held(desk, tenant, **on[grasp])] if grasp else []
    rules = policy(desk, effect, kind)
    retaining = Retaining(desk.repository, desk.eraser, new_id)

    def run() -> int:
        before = live(desk, tenant, kind)
        retaining.run(tenant, rules, now=LATER)
        return before - live(desk, tenant, kind)

    said = forecast(desk.repository, tenant, rules, now=LATER, weeks=0)
    assert going(said, waiting=True) + going(said, waiting=False) == len(grasps)
    assert run() == going(said, waiting=False)
    release(desk, holds)
    assert run() == going(said, waiting=True)


def test_what_is_in_the_trash_waits_too(desk: Desk) -> None:
    tenant = next(NAMES)
    one, other = desk.add(person("Ann"), person("Bo"), tenant=tenant)
    (entry,) = desk.add(note(one.id), tenant=tenant)
    desk.trash(one.id, tenant=tenant)
    desk.trash(other.id, tenant=tenant)
    held(desk, tenant, record=entry.id)
    said = forecast(desk.repository, tenant, NO_RULES, now=NOON + 30 * DAY, weeks=0)
    assert {(each.kind, each.records, each.guards) for each in said} == {
        ("person", 1, Mark.HELD),
        ("person", 1, Mark.NONE),
        ("entry", 1, Mark.HELD),
    }


def test_a_simulation_tells_who_would_wait_apart(desk: Desk) -> None:
    tenant = next(NAMES)
    one, _ = desk.add(person("Ann"), person("Bo"), tenant=tenant)
    held(desk, tenant, subject=one.id)
    changes = simulate(desk.repository, tenant, NO_RULES, policy(desk, "destroy", "person"), now=LATER)
    assert [(each.sooner, each.records, each.guards) for each in changes] == [
        (True, 1, Mark.NONE),
        (True, 1, Mark.HELD),
    ]


@pytest.mark.parametrize("grasp", ["tenant", "person", "record", "entry"])
def test_why_something_is_still_here_says_what_would_be_without_the_hold(desk: Desk, grasp: str) -> None:
    tenant = next(NAMES)
    (somebody,) = desk.add(person("Ann"), tenant=tenant)
    (entry,) = desk.add(note(somebody.id), tenant=tenant)
    on: dict[str, dict[str, str]] = {
        "person": {"subject": somebody.id},
        "record": {"record": somebody.id},
        "entry": {"record": entry.id},
    }
    hold = held(desk, tenant, **on.get(grasp, {}))
    (sealed,) = desk.store.read(tenant, [somebody.id], admits=EVERY)
    due = Destroy(NOON.replace(year=NOON.year + 1, hour=0) + DAY, ("old",))
    told = explain(desk.repository, sealed, policy(desk, "destroy", "person"), now=LATER)
    assert (told.decision, told.otherwise) == (Keep(None, (hold.id,)), due)
    told = explain(desk.repository, sealed, policy(desk, "destroy", "person"), now=NOON)
    assert (told.decision, told.otherwise) == (Keep(None, (hold.id,)), Keep(due.since, ("old",)))
    told = explain(desk.repository, sealed, policy(desk, "trash", "person"), now=LATER)
    if grasp == "entry":  # a person is thrown away with what is held, and only not destroyed
        assert (told.decision, told.otherwise) == (Destroy(due.since, ("old",), Effect.TRASH), None)
    else:
        assert told.otherwise == Destroy(due.since, ("old",), Effect.TRASH)
    release(desk, [hold])
    told = explain(desk.repository, sealed, policy(desk, "destroy", "person"), now=LATER)
    assert (told.decision, told.otherwise, told.guards) == (due, None, ())
