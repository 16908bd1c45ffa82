"""Tenants: what one does leaves every byte of another unchanged, and tells it nothing about the other."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.errors import CapsuleError
from capsule_core.names import RecordId, SubjectKey
from capsule_core.records import Mark, Restore, Shelf, Trash, Where
from capsule_core.uses import Use
from tests.core.desk import ACME, NOON, ZETA, Desk, in_memory, new_id, note, person
from tests.core.test_laws_trash import DAYS

SHARED = new_id("c")
"""An id that both tenants use: an id alone must never lead into another tenant."""


def everything_of(desk: Desk, tenant: str) -> dict[str, object]:
    """All that the stores keep for a tenant, to the byte."""
    store = desk.store
    tables = (store._records, store._subjects, store._reasons, store._answers, store._pages, desk.keystore._keys)
    kept = {str(number): {k: v for k, v in table.items() if k[0] == tenant} for number, table in enumerate(tables)}
    return {**kept, "leaves": [leaf for leaf in desk.leaves() if leaf.tenant == tenant]}


WAYS = {
    "add": lambda desk, _: desk.add(person("New", email="same@example.org"), tenant=ACME),
    "note": lambda desk, name: desk.add(note(name), tenant=ACME),
    "change": lambda desk, name: desk.rename(name, "changed"),
    "trash": lambda desk, name: desk.trash(name),
    "restore": lambda desk, name: desk.restore(name),
    "hold": lambda desk, name: desk.mark(name, Mark.HELD),
    "release": lambda desk, name: desk.mark(name, Mark.HELD, lift=True),
    "erase": lambda desk, name: desk.erase(name),
    "sweep": lambda desk, _: desk.sweep(now=NOON + DAYS),
    "close": lambda desk, _: desk.vault.close(ACME),
}


@pytest.mark.law("L1")
@given(steps=st.lists(st.sampled_from(list(WAYS)), max_size=12))
def test_what_one_tenant_does_leaves_every_byte_of_another_unchanged(steps: list[str]) -> None:
    desk = in_memory()
    for tenant in (ACME, ZETA):
        contact = person("Ann", id=SHARED, email="same@example.org")
        desk.add(contact, note(SHARED, id="e" + SHARED[1:]), tenant=tenant)
    desk.trash(SHARED, tenant=ZETA)
    before, ours = everything_of(desk, ZETA), everything_of(desk, ACME)
    for step in steps:
        try:
            WAYS[step](desk, SHARED)
        except CapsuleError:
            continue
    assert everything_of(desk, ZETA) == before
    assert not steps or steps[0] not in {"add", "hold", "erase"} or everything_of(desk, ACME) != ours


def answers(desk: Desk, name: str) -> list[object]:
    """All that a tenant can find out about an id."""
    record, act = RecordId(name), desk.act()
    asked = [
        lambda: desk.get(name),
        lambda: desk.repository.read(ACME, [record], use=Use.DISPLAY),
        lambda: desk.repository.select(Where(tenant=ACME, ids=(record,), shelf=Shelf.ANY), use=Use.SEARCH, limit=5),
        lambda: desk.store.subjects(ACME, [SubjectKey(name)]),
        lambda: desk.store.reasons(ACME, [SubjectKey(name)]),
        lambda: desk.rename(name, "changed"),
        lambda: desk.trash(name),
        lambda: desk.restore(name),
        lambda: desk.store.move(Where(tenant=ACME, ids=(record,)), Trash(batch="b", at=NOON, until=NOON),
                                admits=~Mark.NONE, act=_silent(act)),
        lambda: desk.store.move(Where(tenant=ACME), Restore("b1"), admits=~Mark.NONE, act=_silent(act)),
        lambda: desk.store.destroy(Where(tenant=ACME, ids=(record,)), admits=~Mark.NONE, act=_silent(act)),
        lambda: desk.eraser.plan(desk.erasure(name)),
        lambda: desk.erase(name),
    ]  # fmt: skip
    return [outcome(each) for each in asked]


def _silent(act):
    return attrs.evolve(act, witness=lambda touched: b"leaf" if touched else None)


def outcome(call) -> object:
    try:
        return call()
    except CapsuleError as error:
        return type(error), str(error), dict(error.metadata)


@pytest.mark.law("L1")
@pytest.mark.parametrize("state", ["live", "trashed", "held", "erased"])
def test_a_foreign_id_and_an_unknown_id_get_the_same_answers(state: str) -> None:
    desk = in_memory()
    desk.add(person("Own"))
    (foreign,) = desk.add(person("Ann"), tenant=ZETA)
    if state == "trashed":
        desk.trash(foreign.id, tenant=ZETA)
    if state == "held":
        desk.mark(foreign.id, Mark.HELD, tenant=ZETA)
    if state == "erased":
        desk.erase(foreign.id, tenant=ZETA)
    size = desk.ledger.head().size
    assert answers(desk, foreign.id) == answers(desk, new_id("c"))
    assert desk.ledger.head().size == size, "nothing was done, so there is no leaf"
