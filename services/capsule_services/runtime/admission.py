"""What is decided about a call before a byte of it is read: on whose account it goes, and whether at all.

Who calls is proved later, on a thread. But a token that was proved once tells whose share it takes the next time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs

from capsule_core.names import TenantId
from capsule_services.runtime.fairness import Allowance, Streams
from capsule_services.runtime.policy import CONSTANT, Callers, Rule
from capsule_services.runtime.workers import ANYONE, NEWCOMERS, OPERATIONS, SERVICES, Workers

__all__ = ["Admission"]

_MOST_REMEMBERED: Final = 4096
_KINDS: Final = {Callers.USERS: NEWCOMERS, Callers.ANYONE: ANYONE, Callers.SERVICES: SERVICES}


@attrs.frozen(kw_only=True)
class Admission:
    """Sends calls to *workers*; *allowance* None lets everybody call as often as they can."""

    workers: Workers
    streams: Streams
    allowance: Allowance | None = None
    seconds: Callable[[], float] = time.monotonic
    _tenants: dict[str, TenantId] = attrs.field(factory=dict, init=False, repr=False)

    def arrive(self, rule: Rule, metadata: Iterable[tuple[str, Any]], *, stream: bool) -> bool:
        """Say whose share a call takes that is about to be submitted; return whether it has been counted.

        Raises:
            RateExceeded: it is one too many.
        """
        tenant = self._tenants.get(_proof(metadata)) if rule.callers is Callers.USERS else None
        if tenant is not None:
            self.count(tenant)
        kind = OPERATIONS if not rule.ours or rule.method in CONSTANT else _KINDS[rule.callers]
        self.workers.expect(tenant or kind, stream=stream)
        return tenant is not None

    def refuse(self) -> None:
        """Have the call that is about to be submitted refused without waiting for its turn."""
        self.workers.expect_refusal()

    def recognise(self, metadata: Iterable[tuple[str, Any]], tenant: TenantId) -> None:
        """Count a call of *tenant* that proved just now whose it is, and know its token the next time.

        Raises:
            RateExceeded: it is one too many.
        """
        while len(self._tenants) >= _MOST_REMEMBERED:
            self._tenants.pop(next(iter(self._tenants)), None)
        self._tenants[_proof(metadata)] = tenant
        self.count(tenant)

    def count(self, tenant: TenantId) -> None:
        """Count a call of *tenant*; errors as :meth:`recognise`."""
        if self.allowance is not None:
            self.allowance.take(tenant, now=self.seconds())


def _proof(metadata: Iterable[tuple[str, Any]]) -> str:
    return next((str(value) for key, value in metadata if key == "authorization"), "")
