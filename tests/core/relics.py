"""A backup that is older than the end of a closing, and what is seen when it was put back."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from capsule_core.closing import GRACE
from capsule_core.closure import Closure
from capsule_core.custody import Custody
from capsule_core.dissolution import Dissolution
from capsule_core.errors import TenantClosed
from capsule_core.holds import Ground, Hold
from capsule_core.names import RecordId
from capsule_core.records import Mark, Shelf, Where
from capsule_core.relics import bury
from capsule_core.restoring import replay
from capsule_core.rulebook import Rulebook
from capsule_core.stores import EVERYONE
from capsule_core.uses import Use
from tests.core.desk import ACME, NOON, ZETA, Desk, new_id, note, person
from tests.core.history import World

__all__ = ["WHEN", "back_of_a_tenant_that_is_gone"]

OVER: Final = NOON + GRACE
ANN, BO, CY, DI, ED = (f"c{letter * 26}" for letter in "abcde")
EVIDENCE = "e" + "a" * 26
RULES = '{"rules": [{"id": "all", "effect": "keep", "since": "created", "period": "P30Y"}]}'


def _lived_in(world: World) -> None:
    """Let there be what a tenant can leave: people, trash, holds of each kind, somebody half erased, and remnants."""
    desk = world.desk
    for tenant in (ACME, ZETA):
        desk.add(*(person(id=each, email=f"{each}@example.org") for each in (ANN, BO, CY, DI, ED)), tenant=tenant)
    desk.add(note(BO, id=EVIDENCE), note(BO), note(ANN))
    desk.hold(desk.get(EVIDENCE))
    desk.forget(BO, parts=True)
    desk.forget(CY)
    desk.trash(ED)
    desk.mark(ANN, Mark.RESTRICTED)
    Rulebook(desk.repository).set(RULES, act=desk.act(use=Use.ADMINISTER))
    everything = Hold(id="h1", ground=Ground.ARCHIVING, authority="them", placed_at="", placed_by="user/u1")
    Custody(desk.repository).place(everything, act=desk.act(use=Use.ADMINISTER))


def _let_go(world: World) -> None:
    desk = world.desk
    Custody(desk.repository).release(RecordId("h1"), act=desk.act(use=Use.ADMINISTER))
    desk.mark(ANN, Mark.RESTRICTED, lift=True)
    desk.hold(desk.get(EVIDENCE, use=Use.LEGAL_CLAIM), lift=True)
    desk.sweep(now=NOON)


def _close(world: World) -> None:
    Closure(world.desk.repository).close(act=world.desk.act(use=Use.ADMINISTER))


def _begin_to_erase(world: World) -> None:
    world.desk.eraser._fence(world.desk.erasure(DI), now=NOON, expects=())


def _begin(world: World) -> None:
    """Destroy somebody, and not more."""
    next(Dissolution(world.desk.repository, world.desk.eraser, secrets.token_bytes).slices(ACME, now=OVER))


def _end(world: World) -> None:
    desk = world.desk
    desk.eraser.resume(now=OVER)
    duty = Dissolution(desk.repository, desk.eraser, secrets.token_bytes)
    for _ in duty.slices(ACME, now=OVER):
        pass
    assert desk.vault.is_closed(ACME)


STEPS: Final[Mapping[str, Callable[[World], None]]] = {
    "lived in": _lived_in,
    "closed": _close,
    "let go": _let_go,
    "somebody half erased": _begin_to_erase,
    "begun": _begin,
    "ended": _end,
}
WHEN: Final = tuple(STEPS)
"""After what the backup was made."""


def back_of_a_tenant_that_is_gone(world: World, when: str) -> Callable[[Desk], None]:
    """Live it all, with a backup in between; return what sees that nothing came back."""
    for step, deed in STEPS.items():
        if step == "begun":
            world.desk.eraser.resume(now=OVER)
        deed(world)
        if step == when:
            world.back_up()
    neighbours = _rows(world.desk, ZETA)

    def seen(desk: Desk) -> None:
        put_right(desk)
        size = desk.ledger.head().size
        assert bury(desk.store, desk.vault, now=OVER) == 0
        assert desk.ledger.head().size == size, "burying again leaves no leaf"
        _nothing_is_left(desk)
        assert _rows(desk, ZETA) == neighbours

    return seen


def put_right(desk: Desk) -> None:
    """Do what a starting service does after a restore."""
    replay(desk.store, desk.vault, desk.journal, since=desk.store.position(), now=OVER)
    bury(desk.store, desk.vault, now=OVER)


def _nothing_is_left(desk: Desk) -> None:
    assert _rows(desk, ACME) == 0
    assert desk.store.remembered(ACME, limit=1) == []
    assert desk.store.released(ACME) == []
    assert desk.store.reasons(ACME, desk.store.people(ACME, limit=99)) == []
    assert [owner for owner, _ in desk.store.unfinished() if owner == ACME] == []
    assert ACME not in desk.store.unindexed()
    assert ACME not in Dissolution(desk.repository, desk.eraser, secrets.token_bytes).waiting(OVER, EVERYONE)
    assert ACME not in desk.sweeping.waiting(OVER + 9 * GRACE, EVERYONE)
    assert desk.eraser.resume(now=OVER) == []
    for late in (lambda: desk.add(person(id=new_id("c"))), lambda: _again(desk), lambda: desk.vault.tenant(ACME)):
        with pytest.raises(TenantClosed):
            late()


def _again(desk: Desk) -> Any:
    return Closure(desk.repository).close(act=desk.act(use=Use.ADMINISTER))


def _rows(desk: Desk, tenant: Any) -> int:
    return desk.store.count(Where(tenant=tenant, shelf=Shelf.ANY), admits=~Mark.NONE)
