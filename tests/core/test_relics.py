"""What a restore brings back of a tenant that is gone for good goes again, whatever ends the process amid it."""

from __future__ import annotations

from itertools import count

import pytest

from capsule_core.relics import bury
from tests.core.desk import ACME, Desk
from tests.core.relics import OVER, STEPS, WHEN, back_of_a_tenant_that_is_gone, put_right
from tests.core.test_laws_restore import Crash, InMemory


@pytest.mark.law("L7")
@pytest.mark.parametrize("when", WHEN)
def test_of_a_tenant_that_is_gone_a_restore_brings_nothing_back(when: str) -> None:
    world = InMemory()
    seen = back_of_a_tenant_that_is_gone(world, when)
    seen(world.restore())


@pytest.mark.law("L7")
@pytest.mark.parametrize("when", WHEN[:-1])
def test_killed_at_any_step_it_is_led_to_its_end_by_the_next_start(when: str) -> None:
    world = InMemory()
    seen = back_of_a_tenant_that_is_gone(world, when)
    for last in count(1):
        dying = world.restore(last)
        try:
            put_right(dying)
        except Crash:
            seen(Desk(dying.store.part, dying.keystore.part, dying.journal.part, dying.ledger.part))
        else:
            return


def test_a_copy_without_what_records_are_found_by_waits_for_no_index_of_a_tenant_that_is_gone() -> None:
    world = InMemory()
    seen = back_of_a_tenant_that_is_gone(world, "closed")
    desk = world.restore()
    desk.store._unindexed |= {ACME}
    seen(desk)


def test_of_who_is_closed_and_not_gone_nothing_is_buried() -> None:
    world = InMemory()
    STEPS["lived in"](world)
    STEPS["closed"](world)
    size = world.desk.ledger.head().size
    assert bury(world.desk.store, world.desk.vault, now=OVER) == 0
    assert world.desk.ledger.head().size == size
