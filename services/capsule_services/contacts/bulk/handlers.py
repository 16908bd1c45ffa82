"""Throwing many contacts away together, and taking them back as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from capsule_core.answers import Request
from capsule_core.errors import InvalidField, ResourceMissing
from capsule_core.moments import Past
from capsule_core.names import RecordId
from capsule_core.records import Expected, Sealed, Shelf, Where
from capsule_core.uses import admits
from capsule_services.contacts.presence import KINDS
from capsule_services.contacts.repeats import keep_answer, recalled
from capsule_services.runtime.calls import Call
from capsule_services.runtime.holding import Holding

__all__ = ["AT_ONCE", "Thrown", "take_back", "throw_away"]

AT_ONCE: Final = 500
"""Contacts in one transaction: short enough that whoever else writes does not wait long."""


@attrs.frozen
class Thrown:
    """What went in one call, and how many more would."""

    batch: str
    contacts: int
    remaining: int = 0


def throw_away(
    holding: Holding, call: Call, names: Sequence[str], stale: Past | None, *, batch: str, request: Request | None
) -> Thrown:
    """Throw contacts away by name, or those to whom nothing has happened for long; of either kind 500 at once.

    Raises:
        InvalidField: nobody is meant, or too many are.
        ResourceMissing: one of those named is not there.
        VersionMismatch: one of them changed at this moment; asking again finds how it is now.
    """
    if bool(names) == (stale is not None):
        raise InvalidField("names", "must be given, or else stale; not both")
    if len(names) > AT_ONCE:
        raise InvalidField("names", f"must not be more than {AT_ONCE}")
    before = recalled(holding, call, request)
    if before is not None:
        return Thrown(str(before[0]), int(before[1]), int(before[2]))
    where = Where(tenant=call.within(), kinds=KINDS, past=stale)
    records = _named(holding, call, names) if stale is None else _stale(holding, call, where)
    together = batch or holding.new_id("b")
    if records:
        expects = tuple(Expected(id=each.id, version=each.version, past=stale) for each in records)
        holding.repository.throw_away(records, together, act=holding.act(call, expects=expects))
    left = 0 if stale is None else holding.repository.store.count(where, admits=admits(call.use))
    thrown = Thrown(together, len(records), left)
    keep_answer(holding, call, request, [thrown.batch, thrown.contacts, thrown.remaining])
    return thrown


def take_back(holding: Holding, call: Call, batch: str, *, request: Request | None) -> int:
    """Take back everything of a batch, or nothing; return how many records that were.

    Raises:
        ResourceMissing: nothing of it is in the trash.
        TrashExpired: its time there is over.
        IdentifierTaken, IdentifierSuppressed: somebody of it would come back under what another has, or nobody may.
    """
    before = recalled(holding, call, request)
    if before is not None:
        return int(before[0])
    records = holding.repository.take_back(batch, act=holding.act(call))
    if not records:
        raise ResourceMissing("batch")
    keep_answer(holding, call, request, [records])
    return records


def _named(holding: Holding, call: Call, names: Sequence[str]) -> list[Sealed]:
    ids = [RecordId(name) for name in dict.fromkeys(names)]
    found = holding.repository.store.read(call.within(), ids, admits=admits(call.use))
    records = [each for each in found if isinstance(each, Sealed) and each.kind in KINDS]
    if len(records) < len(ids):
        raise ResourceMissing("contact")
    return [each for each in records if each.trash is None]


def _stale(holding: Holding, call: Call, where: Where) -> list[Sealed]:
    where = attrs.evolve(where, shelf=Shelf.LIVE)
    return list(holding.repository.store.select(where, admits=admits(call.use), limit=AT_ONCE).records)
