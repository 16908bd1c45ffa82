"""Suppressed identifiers in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import attrs

from capsule_core.journal import Suppressed
from capsule_core.names import TenantId
from capsule_core.records import Act, Barred

__all__ = ["SuppressedHashes"]


@attrs.define(eq=False)
class SuppressedHashes:
    """The hashes that are suppressed in each tenant, and since when."""

    _since: dict[tuple[TenantId, bytes], datetime] = attrs.field(factory=dict, init=False)

    def among(self, tenant: TenantId, hashes: Sequence[bytes]) -> frozenset[bytes]:
        """Return those of *hashes* that are suppressed."""
        return frozenset(hashed for hashed in hashes if (tenant, hashed) in self._since)

    def of(self, tenant: TenantId) -> list[bytes]:
        """Return all that is suppressed in a tenant."""
        return [hashed for owner, hashed in self._since if owner == tenant]

    def admit(self, act: Act) -> None:
        """Let pass an act that brings nothing suppressed.

        Raises:
            Barred: it does.
        """
        if barred := self.among(act.tenant, act.brings):
            raise Barred(barred)

    def changing(self, tenant: TenantId, hashes: Sequence[bytes], *, lift: bool) -> list[bytes]:
        """Return those of *hashes* that are not yet as they are to be, each once."""
        barred = self.among(tenant, hashes)
        return [hashed for hashed in dict.fromkeys(hashes) if (hashed in barred) == lift]

    def change(self, act: Act, hashes: Sequence[bytes], *, lift: bool) -> Suppressed:
        """Suppress *hashes*, or lift them; return what the journal is to be told."""
        told = Suppressed(tenant=act.tenant, hashes=tuple(hashes), since=act.at, lift=lift)
        for hashed in told.hashes:
            if told.lift:
                del self._since[told.tenant, hashed]
            else:
                self._since[told.tenant, hashed] = told.since
        return told
