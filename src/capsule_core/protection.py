"""What keeps data from being destroyed: the one question that every path that destroys asks.

A person is protected by what they carry themselves, by what everybody of the tenant carries, and what is kept of a
person (``remnants``) also by what that person carries. A store asks within the transaction that destroys or fences
(clauses C8, C9, C15 of ``stores.RecordStore``); whoever plans asks here first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from capsule_core.errors import SubjectHeld
from capsule_core.names import SubjectKey, TenantId
from capsule_core.records import GUARDED, Mark
from capsule_core.remnants import is_remnant, person_of
from capsule_core.stores import RecordStore

__all__ = ["EVERYBODY", "guarding", "protectors", "refuse_guarded"]

EVERYBODY: Final = SubjectKey("everybody")
"""Stands for every subject of a tenant, also those to come: what guards it guards them all."""


def protectors(subject: SubjectKey) -> tuple[SubjectKey, ...]:
    """Return who else guards *subject* by what they carry themselves."""
    return (EVERYBODY, person_of(subject)) if is_remnant(subject) else (EVERYBODY,)


def guarding(store: RecordStore, tenant: TenantId, subjects: Sequence[SubjectKey]) -> Mark:
    """Return what guards any of the subjects because somebody else carries it; nothing is decided by it.

    What is decided, a store decides in the transaction that changes something.
    """
    others = dict.fromkeys(other for subject in subjects for other in protectors(subject))
    carried = Mark.NONE
    for found in store.subjects(tenant, list(others)):
        carried |= Mark.NONE if found is None else found.marks
    return carried & GUARDED


def refuse_guarded(store: RecordStore, tenant: TenantId) -> None:
    """Let pass if nothing guards the whole tenant: for whoever is about to destroy all that there is of it.

    Raises:
        SubjectHeld: something does.
    """
    if guarding(store, tenant, [EVERYBODY]):
        raise SubjectHeld
