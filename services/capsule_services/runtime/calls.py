"""The call that is being answered: who calls, under which permission, and what the method uses personal data for."""

from __future__ import annotations

from contextvars import ContextVar

import attrs

from capsule_core.errors import Unauthenticated
from capsule_core.names import ActorRef, TenantId
from capsule_core.uses import Use
from capsule_services.runtime.callers import Caller, UserCaller

__all__ = ["CURRENT", "Call", "current_call"]


@attrs.frozen(kw_only=True)
class Call:
    """What the interceptor found out before it let the call through.

    *method* is the name on the wire (``/package.Service/Method``), *tenant* the one the request names, or the caller's.
    """

    method: str
    permission: str
    use: Use
    caller: Caller
    tenant: TenantId | None

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
