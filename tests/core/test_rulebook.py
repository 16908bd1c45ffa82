"""A policy is kept with what it was before, explained by the library, and survives what a restore takes back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import attrs
import pytest

from capsule_core.errors import InvalidField, VersionMismatch
from capsule_core.moments import Event
from capsule_core.names import ActorRef, SubjectRef, TenantId
from capsule_core.personal import Category, Personal, kind
from capsule_core.privacy import Privacy
from capsule_core.records import Act
from capsule_core.retention import NO_RULES, Keep
from capsule_core.rulebook import Rulebook
from capsule_core.uses import Use

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
YEAR, DAY = timedelta(days=366), timedelta(days=1)
ADMIN = ActorRef("user", "admin")


@kind("customer", subject="id")
@attrs.frozen
class Customer:
    id: str
    name: Annotated[str, Personal(Category.IDENTITY, purpose="sales")]


def document(period: str = "P1Y", **more: Any) -> str:
    rule = {"id": "old", "effect": "destroy", "since": "created", "period": period, "kinds": ["customer"]}
    return json.dumps({"rules": [{**rule, **more}]})


def privacy() -> Privacy:
    return Privacy.in_memory(kinds=[Customer])


def test_who_never_set_a_policy_has_none_but_the_trash() -> None:
    assert privacy().retention.policy("acme") == NO_RULES


def test_a_policy_is_of_its_tenant_alone_and_is_carried_out() -> None:
    p = privacy()
    for tenant in ("acme", "zeta"):
        p.save(tenant, Customer("c1", "Ann"), by=ADMIN, now=NOW)
    p.retention.set("acme", document(), by=ADMIN, now=NOW)
    assert p.retention.policy("zeta") == NO_RULES
    done = p.retention.run(now=NOW + YEAR + DAY)
    assert {tenant: each.destroyed for tenant, each in done.items()} == {"acme": 1}
    assert p.get(Customer, "zeta", "c1").content.name == "Ann"


def test_what_is_kept_of_a_policy_gives_it_back_with_the_earlier_ones() -> None:
    p = privacy()
    kept = p.save("acme", Customer("c1", "Ann"), by=ADMIN, now=NOW)
    for number, period in enumerate(("P5Y", "P3Y", "P1Y")):
        p.retention.set("acme", document(period), by=ADMIN, now=NOW + 2 * YEAR + number * DAY)
    policy = p.retention.policy("acme")
    periods = [policy, policy.before, policy.before and policy.before.before]
    assert [str(each.rules[0].period) for each in periods if each] == ["P1Y", "P3Y", "P5Y"]
    told = p.retention.explain(kept, now=NOW + 2 * YEAR + 3 * DAY)
    assert told.decision == Keep(NOW + 2 * YEAR + 32 * DAY, ("grace", "old"))
    assert p.retention.run(now=NOW + 2 * YEAR + 31 * DAY)[TenantId("acme")].destroyed == 0
    assert p.retention.run(now=NOW + 2 * YEAR + 32 * DAY)[TenantId("acme")].destroyed == 1


def test_a_policy_that_is_refused_leaves_the_one_before() -> None:
    p = privacy()
    p.retention.set("acme", document(locked=True), by=ADMIN, now=NOW)
    for wrong in (document("P0D"), document("P6M", locked=True), "{}", document(kinds=["hold"])):
        with pytest.raises(InvalidField):
            p.retention.set("acme", wrong, by=ADMIN, now=NOW)
    assert str(p.retention.policy("acme").rules[0].period) == "P1Y"


def test_who_changes_a_policy_that_somebody_else_changed_meanwhile_is_told() -> None:
    p = privacy()
    book = Rulebook(p.repository)
    act = Act(tenant=TenantId("acme"), actor=ADMIN, verb="set", use=Use.ADMINISTER.value, at=NOW)
    assert book.set(document(), act=act, version=0).version == 1
    with pytest.raises(VersionMismatch):
        book.set(document("P2Y"), act=act, version=0)
    assert book.set(document("P2Y"), act=act, version=1).version == 2


def test_what_happened_to_somebody_begins_a_rule() -> None:
    p = privacy()
    kept = p.save("acme", Customer("c1", "Ann"), by=ADMIN, now=NOW)
    p.retention.set("acme", document(since="relationship_ended"), by=ADMIN, now=NOW)
    assert p.retention.explain(kept, now=NOW).decision == Keep(None, ())
    who = SubjectRef(TenantId("acme"), "customer", "c1")
    p.retention.happened(who, Event.RELATIONSHIP_ENDED, at=NOW + DAY)
    assert p.retention.explain(kept, now=NOW).decision == Keep(datetime(2027, 3, 3, tzinfo=UTC), ("old",))
    assert [each.records for each in p.retention.forecast("acme", now=NOW + YEAR)] == [1]
    assert [each.sooner for each in p.retention.simulate("acme", document("P3Y"), now=NOW + YEAR)] == [False]
    p.retention.happened(who, Event.RELATIONSHIP_ENDED, at=None)
    assert p.retention.explain(kept, now=NOW).decision == Keep(None, ())
