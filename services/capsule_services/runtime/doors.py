"""Doors: once a tenant is closed, its super administrators come in to look, export and reopen, and nobody else does.

A token says what its user could do when it was made. Whether the tenant is closed is asked of the store, and believed
for half a second: so everybody else's sessions end within a second of the service hearing of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import attrs

from capsule_core.closure import Closure
from capsule_core.errors import Unauthenticated
from capsule_core.names import TenantId
from capsule_core.roles import Role
from capsule_services.runtime.callers import UserCaller

__all__ = ["BELIEVED", "Doors"]

BELIEVED: Final = 0.5
"""Seconds for which it is believed whether a tenant is closed."""

_MOST: Final = 4096


@attrs.define(eq=False)
class Doors:
    """Bounds callers by what the closings of one store leave them; *seconds* never goes back."""

    _closure: Closure
    _seconds: Callable[[], float] = time.monotonic
    _seen: dict[TenantId, tuple[float, bool]] = attrs.field(factory=dict, init=False, repr=False)

    def bounded(self, caller: UserCaller) -> UserCaller:
        """Return the caller with what they may do now.

        Raises:
            Unauthenticated: their tenant is closed, and they are no super administrator.
        """
        if not self._is_closed(caller.tenant):
            return caller
        if caller.authority.role is not Role.SUPER_ADMINISTRATOR:
            raise Unauthenticated
        return attrs.evolve(caller, authority=attrs.evolve(caller.authority, closed=True))

    def _is_closed(self, tenant: TenantId) -> bool:
        now = self._seconds()
        when, closed = self._seen.get(tenant, (-BELIEVED, False))
        if now < when + BELIEVED:
            return closed
        closed = self._closure.since(tenant) is not None
        while len(self._seen) >= _MOST:
            self._seen.pop(next(iter(self._seen)), None)
        self._seen[tenant] = now, closed
        return closed
