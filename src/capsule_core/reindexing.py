"""Make what records are found by again, from the records themselves: after a crash, a failover or a restore."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from capsule_core import codec
from capsule_core.errors import SubjectErased
from capsule_core.index import index
from capsule_core.names import TenantId
from capsule_core.records import FoundBy, Mark, Sealed, Shelf, Where
from capsule_core.repository import Repository

__all__ = ["reindex"]

_AT_ONCE: Final = 500
_READABLE: Final = ~(Mark.FENCED | Mark.ERASED)


def reindex(repository: Repository, tenant: TenantId) -> int:
    """Derive what every record of *tenant* is found by, and say so to the store; return how many there are.

    It may be repeated, and run in two processes at once. Records of who is being erased are left out: nobody is to find
    them.

    Raises:
        SealBroken: a record does not open; the tenant's index stays missing.
    """
    store, where, count, after = repository.store, Where(tenant=tenant, shelf=Shelf.ANY), 0, None
    while True:
        page = store.select(where, admits=_READABLE, limit=_AT_ONCE, after=after)
        store.reindex(tenant, _derived(repository, page.records))
        count, after = count + len(page.records), page.after
        if after is None:
            store.indexed(tenant)
            return count


def _derived(repository: Repository, records: Sequence[Sealed]) -> list[FoundBy]:
    try:
        contents = repository.contents(records, codec.decode)
    except SubjectErased:  # meanwhile, of one of them at least
        return [] if len(records) == 1 else [found for each in records for found in _derived(repository, [each])]
    derived = []
    for record, content in zip(records, contents, strict=True):
        keys = repository.vault.tenant(record.tenant)
        found = index(repository.kinds[record.kind], content, keys=keys, region=repository.region)
        derived.append(FoundBy(id=record.id, tokens=found.tokens, claims=found.claims, signature=found.signature))
    return derived
