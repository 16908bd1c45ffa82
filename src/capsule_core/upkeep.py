"""The duty to carry out policies, as ``rounds`` asks for it: each tenant that has one is looked at once an hour."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

import attrs

from capsule_core.erasure import Eraser
from capsule_core.names import TenantId, made_id
from capsule_core.repository import Repository
from capsule_core.retaining import Retaining
from capsule_core.rulebook import KIND, Rulebook
from capsule_core.stores import Share
from capsule_core.sweeping import Swept

__all__ = ["EVERY", "Upkeep"]

EVERY: Final = timedelta(hours=1)
"""How late at most anybody begins with what a policy has due."""


@attrs.define(eq=False)
class Upkeep:
    """Carries out policies in one store, in turns; *random* makes ids.

    What it has looked at it remembers: whoever names tenants and whoever does their parts share one of these.
    """

    _repository: Repository
    _eraser: Eraser
    _random: Callable[[int], bytes]
    _named: dict[TenantId, datetime] = attrs.field(factory=dict, init=False)
    _begun: set[TenantId] = attrs.field(factory=set, init=False)

    def waiting(self, now: datetime, share: Share) -> Sequence[TenantId]:
        """Name the tenants that have a policy and were not looked at for an hour, or not to the end."""
        found = [tenant for tenant in self._repository.store.having(KIND, share) if self._is_due(tenant, now)]
        self._named.update(dict.fromkeys(found, now))
        self._begun.update(found)
        return found

    def slices(self, tenant: TenantId, *, now: datetime) -> Iterator[Swept]:
        """Do what the policy of a tenant has due, in parts."""
        policy = Rulebook(self._repository).of(tenant)
        retaining = Retaining(self._repository, self._eraser, lambda letter: self._new_id(letter, now))
        for part in retaining.slices(tenant, policy, now=now):
            people = sum(len(receipt.statement.subjects) for receipt in part.receipts)
            records = part.destroyed + part.trashed + part.depersonalised
            yield Swept(records=records, subjects=people, receipts=part.receipts)
        self._begun.discard(tenant)

    def _is_due(self, tenant: TenantId, now: datetime) -> bool:
        named = self._named.get(tenant)
        return named is None or tenant in self._begun or not named < now < named + EVERY

    def _new_id(self, letter: str, now: datetime) -> str:
        return made_id(letter, now=now, randomness=self._random(10))
