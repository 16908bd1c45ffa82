"""The compactor: takes out of the journal, each day, what later entries have replaced."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import attrs
from structlog.typing import FilteringBoundLogger

from capsule_core.errors import CapsuleError

__all__ = ["Compactor"]

_EVERY: Final = 86_400.0
"""Seconds."""


@attrs.define(eq=False)
class Compactor:
    """Lets *compact* do its work when it starts and each day after, in a thread of its own, until *stopped*."""

    _compact: Callable[[], int]
    _stopped: threading.Event
    _log: FilteringBoundLogger

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="compactor", daemon=True).start()

    def _run(self) -> None:
        try:
            self.look()
            while not self._stopped.wait(_EVERY):
                self.look()
        finally:
            self._stopped.set()  # a journal that is not looked after any more must not look as if it were

    def look(self) -> None:
        """Take out what is replaced by now."""
        try:
            self._log.info("compacted", count=self._compact())
        except CapsuleError as error:
            self._log.info("compacting_postponed", reason=error.reason)
