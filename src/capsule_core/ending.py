"""Closing an account at the front door of the library: close, reopen, keep on a ground, and carry it out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import attrs

from capsule_core import arguments
from capsule_core.closing import Closing, Remaining, Term
from capsule_core.closure import Closure
from capsule_core.dissolution import Dissolution
from capsule_core.erasure import Eraser
from capsule_core.kept import Kept
from capsule_core.names import ActorRef, TenantId, tenant_id
from capsule_core.receipts import Receipt
from capsule_core.records import Act
from capsule_core.repository import Repository
from capsule_core.stores import EVERYONE
from capsule_core.uses import Use

__all__ = ["Ending"]


@attrs.define(eq=False)
class Ending:
    """Closes tenants, and destroys what is theirs when its time has come, by the clock of their customer data."""

    _repository: Repository
    _eraser: Eraser
    _random: Callable[[int], bytes]

    def close(self, tenant: str, *, by: ActorRef, now: datetime) -> Kept[Closing]:
        """Close a tenant; closing it again changes nothing."""
        return Closure(self._repository).close(act=_act(tenant, "close", by, now))

    def reopen(self, tenant: str, *, by: ActorRef, now: datetime) -> Kept[Closing]:
        """Reopen a tenant within 14 x 24 hours: everything is as if it had never been closed.

        Raises:
            ResourceMissing: it never was.
            TenantClosed: it is too late.
        """
        return Closure(self._repository).reopen(act=_act(tenant, "reopen", by, now))

    def keep(self, tenant: str, remaining: Remaining, *, by: ActorRef, now: datetime) -> Kept[Closing]:
        """Put a ground on record for which the account holder's own data is kept for longer; errors as `record`."""
        arguments.instance("remaining", remaining, Remaining)
        return Closure(self._repository).record(remaining, act=_act(tenant, "keep", by, now))

    def of(self, tenant: str) -> Kept[Closing] | None:
        """Return what is kept of a closing; None if the tenant never was closed.

        Raises:
            TenantClosed: it is closed for good.
        """
        return Closure(self._repository).of(tenant_id(tenant))

    def run(self, *, now: datetime, term: Term = Term.CUSTOMER_DATA) -> dict[TenantId, tuple[Receipt, ...]]:
        """Destroy what is due of every closed tenant; return what proves it, by tenant."""
        arguments.moment("now", now)
        duty = Dissolution(self._repository, self._eraser, self._random, arguments.instance("term", term, Term))
        return {
            tenant: tuple(receipt for part in duty.slices(tenant, now=now) for receipt in part.receipts)
            for tenant in duty.waiting(now, EVERYONE)
        }


def _act(tenant: str, verb: str, by: ActorRef, now: datetime) -> Act:
    return Act(
        tenant=tenant_id(tenant),
        actor=arguments.actor(by),
        verb=verb,
        use=Use.ADMINISTER.value,
        at=arguments.moment("now", now),
    )
