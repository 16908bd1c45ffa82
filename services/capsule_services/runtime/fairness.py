"""Fairness between tenants: none may keep all threads busy with its streams."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

import attrs

from capsule_core.errors import Unavailable
from capsule_core.names import TenantId

__all__ = ["Streams"]


@attrs.frozen
class Streams:
    """The streams under way; each keeps a thread, so a tenant has at most *most* of them at a time."""

    most: int
    _open: Counter[TenantId] = attrs.field(factory=Counter, init=False, repr=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    @contextmanager
    def held(self, tenant: TenantId) -> Generator[None]:
        """Count one more stream of *tenant* while it lasts.

        Raises:
            Unavailable: the tenant has as many as it may.
        """
        with self._lock:
            if self._open[tenant] >= self.most:
                raise Unavailable
            self._open[tenant] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[tenant] -= 1
                if not self._open[tenant]:
                    del self._open[tenant]
