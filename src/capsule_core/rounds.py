"""Rounds: the tenants of a share are swept in turns, a slice each, so that none waits for all that another has.

In a round every tenant that has something to destroy gets one turn, first whose trash has been due for longest; then
the next round begins with whoever has something by then. A turn is less than two slices (``sweeping.SLICE``). So a
tenant with a million due records is an hour's work, and nobody's delay: with *n* tenants waiting and *w* of them in a
step, a tenant that falls due has its first turn within ``2 * ceil(n / w)`` steps, the rest of the round that is under
way and its place in the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

import attrs

from capsule_core.errors import CapsuleError
from capsule_core.names import TenantId
from capsule_core.stores import Share
from capsule_core.sweeping import SLICE, Swept

__all__ = ["AGAIN", "Duty", "Rounds", "Stint"]

AGAIN: Final = timedelta(minutes=1)
"""After which a tenant that was swept to its end is looked at again while others are not."""


class Duty(Protocol):
    """One reason for which data of a tenant is to be destroyed, such as that its time in the trash is over."""

    def waiting(self, now: datetime, share: Share) -> Sequence[TenantId]:
        """Name the tenants that have something to do at *now*, the most urgent first."""
        ...

    def slices(self, tenant: TenantId, *, now: datetime) -> Iterator[Swept]:
        """Do what is to be done for a tenant, in parts that each end before the next is begun."""
        ...


@attrs.frozen(kw_only=True)
class Stint:
    """What a step did: *postponed* counts tenants that could not be swept, by reason; *left* says that more waits."""

    records: int = 0
    subjects: int = 0
    tenants: int = 0
    postponed: Mapping[str, int] = attrs.field(factory=dict)
    left: bool = False


@attrs.define(eq=False)
class Rounds:
    """Does *duties* for the tenants of *share*, so many of them in a step as it is *wide*.

    *now* is asked in each step: what was begun at a later moment than the clock shows by now is not gone on with, so
    that a clock that was set back has nothing destroyed early.
    """

    _duties: Sequence[Duty]
    _share: Share
    _now: Callable[[], datetime]
    _wide: int
    _turns: deque[TenantId] = attrs.field(factory=deque, init=False)
    _going: dict[TenantId, Iterator[Swept]] = attrs.field(factory=dict, init=False)
    _ended: dict[TenantId, datetime] = attrs.field(factory=dict, init=False)
    _latest: datetime | None = attrs.field(default=None, init=False)

    def step(self) -> Stint:
        """Give the next tenants their slices."""
        now = self._now()
        if self._latest is not None and now < self._latest:
            return Stint()
        self._latest = now
        if not self._turns:
            self._turns.extend(self._round(now))
        swept: list[Swept] = []
        postponed: dict[str, int] = {}
        some = [self._turns.popleft() for _ in range(min(self._wide, len(self._turns)))]
        for tenant in some:
            try:
                swept.extend(self._slice(tenant, now))
            except CapsuleError as error:  # what cannot be swept in one tenant waits, and holds up no other
                postponed[error.reason] = postponed.get(error.reason, 0) + 1
                self._end(tenant, now)
        return Stint(
            records=sum(each.records for each in swept),
            subjects=sum(each.subjects for each in swept),
            tenants=len(some),
            postponed=postponed,
            left=bool(self._turns or self._going),
        )

    def _round(self, now: datetime) -> list[TenantId]:
        waiting = dict.fromkeys(tenant for duty in self._duties for tenant in duty.waiting(now, self._share))
        ended = {tenant for tenant, when in self._ended.items() if now < when + AGAIN}
        # Who is under way goes on, though what is left of theirs may be nothing but what is guarded.
        return [tenant for tenant in dict.fromkeys((*waiting, *self._going)) if tenant not in ended]

    def _slice(self, tenant: TenantId, now: datetime) -> list[Swept]:
        slices = self._going.get(tenant)
        if slices is None:
            slices = self._going[tenant] = _each(self._duties, tenant, now)
        done: list[Swept] = []
        while sum(each.subjects or each.records or SLICE for each in done) < SLICE:
            swept = next(slices, None)
            if swept is None:
                self._end(tenant, now)
                break
            done.append(swept)
        return done

    def _end(self, tenant: TenantId, now: datetime) -> None:
        self._going.pop(tenant, None)
        self._ended[tenant] = now


def _each(duties: Sequence[Duty], tenant: TenantId, now: datetime) -> Iterator[Swept]:
    for duty in duties:
        yield from duty.slices(tenant, now=now)
