"""Fairness between tenants: how often one may call, how many streams it has, and whose call is answered next.

Nothing here starts a thread or looks at a clock; :mod:`workers` and :mod:`admission` do.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

import attrs

from capsule_core.errors import RateExceeded, StreamsExceeded
from capsule_core.names import TenantId

__all__ = ["Allowance", "Rate", "Streams", "Turns"]

J = TypeVar("J")
_MOST_IDLE: Final = 1024


@attrs.frozen
class Rate:
    """How many calls a second a tenant may make for long, and how many at once after a pause."""

    calls: int = attrs.field(default=200, validator=attrs.validators.ge(1))
    burst: int = attrs.field(default=400, validator=attrs.validators.ge(1))


@attrs.define
class Allowance:
    """What each tenant may still ask under *rate*: a bucket of tokens, kept as the moment at which it is full again.

    A tenant whose bucket is full is not remembered, so only those who call take room (GCRA, ITU-T I.371).
    """

    rate: Rate
    _full_at: dict[TenantId, float] = attrs.field(factory=dict, init=False, repr=False)
    _room: int = attrs.field(default=_MOST_IDLE, init=False)

    def take(self, tenant: TenantId, *, now: float) -> None:
        """Count one call of *tenant*; *now* is in seconds of a clock that never goes back.

        Raises:
            RateExceeded: it has none left; the error says after how many milliseconds it has.
        """
        full_at = max(self._full_at.get(tenant, now), now)
        early = full_at - now - (self.rate.burst - 1) / self.rate.calls
        if early > 1e-9:
            raise RateExceeded(math.ceil(early * 1000))
        if tenant not in self._full_at and len(self._full_at) >= self._room:
            self._forget(now)
        self._full_at[tenant] = full_at + 1 / self.rate.calls

    def _forget(self, now: float) -> None:
        self._full_at = {tenant: full_at for tenant, full_at in self._full_at.items() if full_at > now}
        self._room = max(_MOST_IDLE, 2 * len(self._full_at))


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
            StreamsExceeded: the tenant has as many as it may.
        """
        with self._lock:
            if self._open[tenant] >= self.most:
                raise StreamsExceeded(self.most)
            self._open[tenant] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[tenant] -= 1
                if not self._open[tenant]:
                    del self._open[tenant]


@attrs.define
class Turns(Generic[J]):
    """Whose job is begun next: those who wait take turns, and *width* are under way at a time.

    Whoever it is (a *party*) has at most ``share(party)`` of them. Between two turns of a party that waits and has not
    its share, every other gets at most one. Parties that neither wait nor work take no room.
    """

    width: int
    share: Callable[[str], int]
    busy: int = attrs.field(default=0, init=False)
    _waiting: dict[str, deque[J]] = attrs.field(factory=dict, init=False, repr=False)
    _working: dict[str, int] = attrs.field(factory=dict, init=False, repr=False)
    # Who waits and has less than its share; each once.
    _order: deque[str] = attrs.field(factory=deque, init=False, repr=False)

    def waiting(self, party: str) -> int:
        """Return how many jobs of *party* have not been begun."""
        return len(self._waiting.get(party, ()))

    def add(self, party: str, job: J) -> None:
        """Let a job of *party* wait for its turn."""
        queue = self._waiting.get(party)
        if queue is not None:
            queue.append(job)
            return
        self._waiting[party] = deque((job,))
        if self._working.get(party, 0) < self.share(party):
            self._order.append(party)

    def begin(self) -> tuple[str, J] | None:
        """Take the next job and whose it is; None if all are busy, or nobody may go on."""
        if self.busy >= self.width or not self._order:
            return None
        party = self._order.popleft()
        queue = self._waiting[party]
        job = queue.popleft()
        self.busy += 1
        self._working[party] = working = self._working.get(party, 0) + 1
        if not queue:
            del self._waiting[party]
        elif working < self.share(party):
            self._order.append(party)
        return party, job

    def end(self, party: str) -> None:
        """A job of *party* is done."""
        self.busy -= 1
        working = self._working.pop(party) - 1
        if working:
            self._working[party] = working
        if working + 1 == self.share(party) and party in self._waiting:
            self._order.append(party)
