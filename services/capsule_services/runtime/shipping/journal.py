"""A journal that has settled when the place has it too."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import attrs

from capsule_core.journal import Entry, Journal, SealedPage
from capsule_core.names import TenantId
from capsule_services.runtime.shipping.shipper import Shipper

__all__ = ["ShippedJournal"]


@attrs.frozen(eq=False)
class ShippedJournal:
    """The journal *local*, which *shipper* keeps at a place too."""

    local: Journal
    shipper: Shipper

    def append(self, entries: Sequence[Entry]) -> int:
        """Keep *entries* here, all or none; return the position of the last one."""
        return self.local.append(entries)

    def since(self, position: int) -> Iterator[tuple[int, Entry]]:
        """Give the entries after *position*."""
        return self.local.since(position)

    def newest_page(self, tenant: TenantId, number: int, key_id: bytes) -> SealedPage | None:
        """Return the page as it was last re-sealed under *key_id*."""
        return self.local.newest_page(tenant, number, key_id)

    def drop(self, positions: Collection[int]) -> None:
        """Take out the entries at *positions* here; there they go when the shipper tidies up."""
        self.local.drop(positions)

    def settle(self) -> None:
        """Return when the place has what was appended.

        Raises:
            JournalUnshipped: it has not; what was appended stays, and goes there later.
        """
        self.local.settle()
        self.shipper.reach(self.local.append(()))
