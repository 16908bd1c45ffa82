"""The reporter: tells the privacy service of every erasure that was committed here; ``outbox`` says how."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import attrs
from structlog.typing import FilteringBoundLogger

from capsule_core import story
from capsule_core.ledger import Leaf
from capsule_core.names import TenantId
from capsule_core.receipts import Receipt
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.outbox import NotYet, Outbox

__all__ = ["Report", "Reporter"]

Report = Callable[[Receipt], bool]
"""Tells of one erasure, and returns whether it is done everywhere; CapsuleError if nobody could be told."""


@attrs.define(eq=False)
class Reporter:
    """Reports the erasures of *holding*, in a thread of its own, until *stopped*."""

    _holding: Holding
    _report: Report
    _cursor: Path
    _stopped: threading.Event
    _log: FilteringBoundLogger
    _outbox: Outbox[Receipt] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        ledger = self._holding.ledger
        self._outbox = Outbox("reporter", ledger, self._receipt, self._report, self._cursor, self._stopped, self._log)

    def start(self) -> None:
        """Begin, with what is still unreported."""
        self._outbox.start()

    def wake(self) -> None:
        """Look now: something was erased."""
        self._outbox.wake()

    def has_told(self, tenant: TenantId) -> bool:
        """Tell whether every erasure of a tenant is reported, and done everywhere."""
        return not self._outbox.owes(tenant)

    def _receipt(self, leaf: Leaf) -> Receipt | None:
        if leaf.act != story.COMMIT:
            return None
        found = self._holding.eraser.receipt(leaf.tenant, leaf.detail["erasure"], now=self._holding.now())
        if found is None:
            raise NotYet  # its answers are not to be seen yet
        return found
