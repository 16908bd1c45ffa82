"""The keystore in memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import attrs

from capsule_core.names import TenantId
from capsule_core.pages import KeyMoved, PageKey

__all__ = ["MemoryKeystore"]


@attrs.define(eq=False)
class MemoryKeystore:
    """Page keys, as long as the process lives."""

    _keys: dict[tuple[TenantId, int], PageKey] = attrs.field(factory=dict, init=False, repr=False)
    _lock: threading.RLock = attrs.field(factory=threading.RLock, init=False, repr=False)

    @property
    def mirrors(self) -> int:
        """How many copies are kept."""
        return 1

    def put(self, keys: Sequence[PageKey]) -> None:
        """Keep new keys."""
        with self._lock:
            if any((key.tenant, key.page) in self._keys for key in keys):
                raise KeyMoved
            self._keys.update({(key.tenant, key.page): key for key in keys})

    def get(self, tenant: TenantId, pages: Sequence[int]) -> Sequence[PageKey | None]:
        """Return the keys of pages, in order; None for one that has none."""
        return [self._keys.get((tenant, page)) for page in pages]

    def replace(self, keys: Sequence[tuple[bytes, PageKey]]) -> None:
        """Destroy the keys whose ids are given and put new ones in their places."""
        with self._lock:
            for old, key in keys:
                held = self._keys.get((key.tenant, key.page))
                if held is None or held.id != old:
                    raise KeyMoved
            self._keys.update({(key.tenant, key.page): key for _, key in keys})

    def close(self, mark: PageKey) -> None:
        """Destroy all keys of the mark's tenant; the mark is what it has from then on."""
        with self._lock:
            self._keys[mark.tenant, mark.page] = mark  # first: who asks meanwhile is told, and takes no lock for it
            for place in [place for place in self._keys if place[0] == mark.tenant and place[1] != mark.page]:
                del self._keys[place]
