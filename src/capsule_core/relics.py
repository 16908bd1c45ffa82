"""What a restore brings back of tenants whose keys are destroyed: rows that nobody can read, and their going again.

The keystore is in no backup, and says for ever who was closed for good (``vault``). That was decided when nothing
guarded anything of theirs any more; so what guarded it in an older copy of the data guards it no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import attrs

from capsule_core.ledger import Leaf
from capsule_core.names import ActorRef
from capsule_core.records import GONE, Act, Mark, Shelf, Touched, Where, Witness
from capsule_core.stores import Store
from capsule_core.uses import Use
from capsule_core.vault import Vault

__all__ = ["bears_keyless_witness", "bury"]

_AT_ONCE: Final = 500
_EVERY: Final = ~Mark.NONE
_CLOCK: Final = ActorRef("clock", "restore")
_UNKEYED: Final = "0" * 64
"""Commits to nobody: that takes keys, and there are none."""


def bears_keyless_witness(act: Act) -> Witness:
    """Make the witness of an act for a tenant that has no keys: its leaf tells the act and how much it touched."""

    def witness(touched: Sequence[Touched]) -> bytes | None:
        return _leaf(act, len(touched)) if touched else None

    return witness


def bury(store: Store, vault: Vault, *, now: datetime) -> int:
    """Delete what *store* holds of tenants that are closed for good; return how many records that were.

    Nothing of them waits for a sweep or a restart afterwards. It may be repeated, and changes nothing then.

    Raises:
        CapsuleError: the store cannot be written; doing it again goes on from there.
    """
    count = 0
    for tenant in store.tenants():
        if vault.is_closed(tenant):
            act = Act(tenant=tenant, actor=_CLOCK, verb="restore.bury", use=Use.ERASE.value, at=now, replayed=True)
            _end(store, act)
            _readmit(store, act)
            count += _delete(store, attrs.evolve(act, witness=bears_keyless_witness(act)))
            if tenant in store.unindexed():
                store.indexed(tenant)  # of nothing
    return count


def _end(store: Store, act: Act) -> None:
    """Lift what people carry, and say of whom an erasure had begun that it has ended: their keys are gone."""
    act, after = attrs.evolve(act, witness=bears_keyless_witness(act)), None
    while people := store.people(act.tenant, limit=_AT_ONCE, after=after):
        after = people[-1]
        if carried := [each for each in store.reasons(act.tenant, people) if not each.mark & GONE]:
            store.mark(carried, lift=True, admits=_EVERY, act=act)
    begun = [attrs.evolve(each, mark=Mark.ERASED) for owner, each in store.unfinished() if owner == act.tenant]
    for start in range(0, len(begun), _AT_ONCE):
        store.mark(begun[start : start + _AT_ONCE], admits=_EVERY, act=act)


def _readmit(store: Store, act: Act) -> None:
    while hashes := store.remembered(act.tenant, limit=_AT_ONCE):
        store.suppress(hashes, act=attrs.evolve(act, witness=lambda _: _leaf(act, 0)), lift=True)


def _delete(store: Store, act: Act) -> int:
    where, count = Where(tenant=act.tenant, shelf=Shelf.ANY), 0
    while found := store.select(where, admits=_EVERY, limit=_AT_ONCE).records:
        these = attrs.evolve(where, ids=tuple(record.id for record in found))
        count += len(store.destroy(these, admits=_EVERY, act=act))
    return count


def _leaf(act: Act, records: int) -> bytes:
    leaf = Leaf(at=act.at, tenant=act.tenant, act=act.verb, use=act.use, actor=_UNKEYED, records=records)
    return leaf.encode()
