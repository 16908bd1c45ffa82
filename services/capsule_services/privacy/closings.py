"""Closings at the privacy service: its register of a closed tenant goes last, when identity has nothing of it left.

Until then holders still report what they erase, and super administrators still ask for the receipts that prove it.
"""

from __future__ import annotations

import threading
from typing import Final

import attrs
from structlog.typing import FilteringBoundLogger

from capsule_core.dissolution import Dissolution
from capsule_core.errors import CapsuleError
from capsule_core.stores import EVERYONE
from capsule_services.runtime.holding import Holding

__all__ = ["Closings"]

_EVERY: Final = 10.0
"""Seconds between two looks."""


@attrs.define(eq=False)
class Closings:
    """Carries *duty* out in *holding*, in a thread of its own, until *stopped*."""

    _holding: Holding
    _duty: Dissolution
    _stopped: threading.Event
    _log: FilteringBoundLogger

    def start(self) -> None:
        """Begin, with what is due already."""
        threading.Thread(target=self._run, name="closings", daemon=True).start()

    def look(self) -> int:
        """Destroy what is due now; return how many registers were looked into."""
        now = self._holding.over()
        waiting = self._duty.waiting(now, EVERYONE)
        for tenant in waiting:
            try:
                for _ in self._duty.slices(tenant, now=now):
                    pass
            except CapsuleError as error:  # one that cannot go yet holds up no other
                self._log.info("sweep_postponed", reason=error.reason)
        return len(waiting)

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                try:
                    self.look()
                except CapsuleError as error:
                    self._log.info("sweep_postponed", reason=error.reason)
                self._stopped.wait(_EVERY)
        finally:
            self._stopped.set()  # a service that cannot destroy any more must not look as if it could
