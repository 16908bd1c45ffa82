"""The mender: makes what records are found by again, when a crash of the database has taken it."""

from __future__ import annotations

import threading
from typing import Final

import attrs
from structlog.typing import FilteringBoundLogger

from capsule_core.errors import CapsuleError
from capsule_core.reindexing import reindex
from capsule_services.runtime.holding import Holding

__all__ = ["Mender"]

_EVERY: Final = 2.0
"""Seconds; until then searches of a tenant without an index are answered UNAVAILABLE."""


@attrs.define(eq=False)
class Mender:
    """Looks after the index of *holding*, in a thread of its own, until *stopped*."""

    _holding: Holding
    _stopped: threading.Event
    _log: FilteringBoundLogger

    def start(self) -> None:
        """Begin, with what is missing already."""
        threading.Thread(target=self._run, name="mender", daemon=True).start()

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._mend()
                self._stopped.wait(_EVERY)
        finally:
            self._stopped.set()  # a service that cannot mend any more must not look as if it could

    def _mend(self) -> None:
        try:
            for tenant in self._holding.repository.store.unindexed():
                self._log.info("reindexed", count=reindex(self._holding.repository, tenant))
        except CapsuleError as error:
            self._log.info("reindexing_postponed", reason=error.reason)
