"""The call that is being answered: who calls, under which permission, and what the method uses personal data for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextvars import ContextVar

import attrs

from capsule_core.errors import Unauthenticated
from capsule_core.names import ActorRef, TenantId
from capsule_core.records import Slot
from capsule_core.uses import Use
from capsule_core.vault import Vault
from capsule_services.runtime.callers import Caller, UserCaller
from capsule_services.runtime.lastlook import LastLook

__all__ = ["CURRENT", "Call", "current_call", "noting", "patience"]


def _for_ever() -> float:
    return math.inf


@attrs.frozen(kw_only=True)
class Call:
    """What the interceptor found out before it let the call through.

    *method* is the name on the wire (``/package.Service/Method``), *tenant* the one the request names, or the caller's;
    *remaining* tells how many seconds the caller still waits for an answer; *last_look* decides whether one may leave.
    """

    method: str
    permission: str
    use: Use
    caller: Caller
    tenant: TenantId | None
    remaining: Callable[[], float] = attrs.field(default=_for_ever, eq=False, repr=False)
    last_look: LastLook = attrs.field(factory=LastLook, eq=False, repr=False)

    @property
    def actor(self) -> ActorRef:
        return self.caller.actor

    def user(self) -> UserCaller:
        """Return the user who calls.

        Raises:
            Unauthenticated: it is not a user; a method for users never sees that.
        """
        if not isinstance(self.caller, UserCaller):
            raise Unauthenticated
        return self.caller

    def within(self) -> TenantId:
        """Return the tenant the call stays within.

        Raises:
            Unauthenticated: it names none; a method for users never sees that.
        """
        if self.tenant is None:
            raise Unauthenticated
        return self.tenant


CURRENT: ContextVar[Call] = ContextVar("capsule_call")
"""Set by the interceptor, for as long as a servicer works on the call."""


def current_call() -> Call:
    """Return the call that this servicer answers."""
    return CURRENT.get()


def noting(vault: Vault) -> Callable[[TenantId, Sequence[Slot]], None]:
    """Return what notes, for the call that is being answered, whose contents it uses; their keys lie in *vault*."""

    def note(tenant: TenantId, slots: Sequence[Slot]) -> None:
        call = CURRENT.get(None)
        if call is not None:
            call.last_look.note(vault, tenant, slots)

    return note


def patience(most: float) -> float:
    """Return how many seconds to wait for something: at most *most*, and no longer than the caller does."""
    call = CURRENT.get(None)
    return most if call is None else min(most, call.remaining())
