"""Sealed key pages in memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import attrs

from capsule_core.journal import SealedPage
from capsule_core.names import TenantId
from capsule_core.pages import KeyMoved

__all__ = ["MemoryPages"]


@attrs.define(eq=False)
class MemoryPages:
    """Pages of many tenants, in a dictionary under a lock."""

    _pages: dict[tuple[TenantId, int], SealedPage] = attrs.field(factory=dict, init=False)
    _lock: threading.RLock = attrs.field(factory=threading.RLock, init=False, repr=False)

    def add(self, page: SealedPage) -> None:
        """Keep a new page."""
        with self._lock:
            if (page.tenant, page.number) in self._pages:
                raise KeyMoved
            self._pages[page.tenant, page.number] = page

    def pages(self, tenant: TenantId, numbers: Sequence[int]) -> Sequence[SealedPage | None]:
        """Return pages, in order; None for one that is not there."""
        return [self._pages.get((tenant, number)) for number in numbers]

    def reseal(self, pages: Sequence[SealedPage]) -> None:
        """Replace pages by what they were sealed to anew."""
        with self._lock:
            for page in pages:
                if page.generation > self._pages[page.tenant, page.number].generation:
                    self._pages[page.tenant, page.number] = page

    def newest(self, tenant: TenantId) -> int:
        """Return the number of the tenant's newest page."""
        with self._lock:
            return max((number for owner, number in self._pages if owner == tenant), default=0)
