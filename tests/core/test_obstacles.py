"""What stands in the way of a closing is counted by what it is, wherever it lies, and of one tenant alone."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest

from capsule_core.names import SubjectKey, TenantId
from capsule_core.obstacles import Obstacle, obstacles
from capsule_core.protection import EVERYBODY
from capsule_core.records import Mark, Reason
from capsule_core.uses import Use
from capsule_core.witness import bears_witness
from tests.core.desk import ACME, NOON, ZETA, Desk, in_memory, invoice, note, person
from tests.core.test_closure import closed


@pytest.fixture
def desk() -> Desk:
    return in_memory()


def everybody(desk: Desk, mark: Mark, *, days: int = 0, why: str = "why", tenant: TenantId = ACME) -> None:
    closed(desk, tenant=tenant)  # it is everybody's, so that there is one to be marked
    act = desk.act(tenant, use=Use.STORE)
    reason = Reason(id=why, mark=mark, subject=EVERYBODY, since=NOON + timedelta(days=days))
    desk.store.mark([reason], act=attrs.evolve(act, witness=bears_witness(desk.vault, act)))


def test_nothing_stands_in_the_way_of_one_of_whom_nothing_is_kept(desk: Desk) -> None:
    assert obstacles(desk.store, ACME) == ()
    desk.add(person("Ann"))
    assert obstacles(desk.store, ACME) == ()
    assert obstacles(desk.store, TenantId("unknown")) == ()


def test_each_kind_is_counted_by_records_of_people_and_single_ones_in_the_trash_too(desk: Desk) -> None:
    ann, bo, cy = desk.add(person("Ann"), person("Bo"), person("Cy"))
    first, _ = desk.add(note(ann.id), note(bo.id))
    desk.trash(bo.id)
    desk.hold(first)
    desk.mark(bo.id, Mark.RESTRICTED)
    desk.mark(cy.id, Mark.OBJECTED)
    assert obstacles(desk.store, ACME) == (
        Obstacle(mark=Mark.HELD, records=1),
        Obstacle(mark=Mark.RESTRICTED, records=2),
    )
    desk.hold(first, lift=True)
    assert obstacles(desk.store, ACME) == (Obstacle(mark=Mark.RESTRICTED, records=2),)


def test_what_an_obligation_keeps_of_somebody_erased_is_told(desk: Desk) -> None:
    (ann,) = desk.add(person("Ann"))
    desk.add(invoice(ann.id))
    desk.forget(ann.id, parts=True)
    assert obstacles(desk.store, ACME) == (Obstacle(mark=Mark.OBLIGED, records=1),)


@pytest.mark.law("L1")
def test_what_keeps_all_of_a_tenant_says_since_when_and_is_no_other_tenants(desk: Desk) -> None:
    (ann,) = desk.add(person("Ann"))
    desk.mark(ann.id, Mark.RESTRICTED)
    everybody(desk, Mark.HELD, days=2, why="second")
    everybody(desk, Mark.HELD, days=1, why="first")
    assert obstacles(desk.store, ACME) == (
        Obstacle(mark=Mark.HELD, since=NOON + timedelta(days=1)),
        Obstacle(mark=Mark.RESTRICTED, records=1),
    )
    desk.add(person("Bo"), tenant=ZETA)
    assert obstacles(desk.store, ZETA) == ()
    assert desk.store.reasons(ZETA, [SubjectKey(EVERYBODY)]) == []
