"""The sweeper: destroys what has been in the trash for its time, and forgets old answers, while the service runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import attrs
from structlog.typing import FilteringBoundLogger

from capsule_core.errors import CapsuleError
from capsule_services.runtime.holding import Holding

__all__ = ["Sweeper"]

_EVERY: Final = timedelta(minutes=1)


@attrs.define(eq=False)
class Sweeper:
    """Sweeps *holding* each minute of its clock until *stopped*; *swept* is told when something was erased."""

    _holding: Holding
    _swept: Callable[[], None]
    _stopped: threading.Event
    _log: FilteringBoundLogger

    def start(self) -> None:
        """Begin, with what is due already."""
        threading.Thread(target=self._run, name="sweeper", daemon=True).start()

    def _run(self) -> None:
        try:
            self._sweep_each_minute()
        finally:
            self._stopped.set()  # a service that cannot sweep any more must not look as if it could

    def _sweep_each_minute(self) -> None:
        while True:
            try:
                self._sweep()
            except CapsuleError as error:
                self._log.info("sweep_postponed", reason=error.reason)
            if not self._holding.clock.wait(self._holding.now() + _EVERY, self._stopped):
                return

    def _sweep(self) -> None:
        now = self._holding.now()
        self._holding.repository.store.forget(now)
        store = self._holding.repository.store
        for tenant in dict.fromkeys((*store.due(now), *(owner for owner, _ in store.released()))):
            try:
                if self._holding.holder.sweep(tenant, now=now).subjects:
                    self._swept()
            except CapsuleError as error:  # what cannot be swept in one tenant waits, and holds up no other
                self._log.info("sweep_postponed", reason=error.reason)
