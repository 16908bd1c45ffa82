"""The anchorer: signs the logs of a service soon after they have grown, and ships the checkpoints to the journal."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import attrs
from structlog.typing import FilteringBoundLogger

from capsule_core.anchors import LOOK, WITHIN, Growth, anchor, newest_anchor
from capsule_core.checkpoints import Checkpoint, Signer
from capsule_core.errors import CapsuleError, DataLoss
from capsule_core.journal import Journal
from capsule_core.ledger import LedgerStore
from capsule_services.runtime.clock import Clock

__all__ = ["Anchorer"]


@attrs.define
class _Log:
    """What is known of one log: its last checkpoint outside the data, and how it has grown since."""

    ledger: LedgerStore
    last: Checkpoint | None = None
    growth: Growth = attrs.field(factory=Growth)
    known: bool = False


def _logs(ledgers: Mapping[str, LedgerStore]) -> dict[str, _Log]:
    return {name: _Log(ledger) for name, ledger in ledgers.items()}


@attrs.define(eq=False)
class Anchorer:
    """Signs *logs*, by name, each ten seconds of the clock in which one is due, until *stopped*."""

    _logs: dict[str, _Log] = attrs.field(converter=_logs)
    _journal: Journal
    _signer: Signer
    _clock: Clock
    _stopped: threading.Event
    _log: FilteringBoundLogger

    def start(self) -> None:
        """Begin, with what has grown already."""
        threading.Thread(target=self._run, name="anchorer", daemon=True).start()

    def look(self) -> None:
        """Sign what is due now."""
        for name, log in self._logs.items():
            try:
                self._look(name, log)
            except DataLoss as error:  # it is signed no more, and whoever watches the log of the service must see it
                self._log.error("anchor_refused", reason=error.reason)
            except CapsuleError as error:
                self._log.info("anchor_postponed", reason=error.reason)

    def _look(self, name: str, log: _Log) -> None:
        now = self._clock.now()
        if not log.known:
            log.last = newest_anchor(self._journal, name, self._signer)
            log.growth = Growth(anchored=log.last.size if log.last else 0, since=now - WITHIN)
            log.known = True
        size = log.ledger.head().size
        log.growth = log.growth.seen(size, now=now)
        if log.growth.due(size, now=now):
            log.last = anchor(log.ledger, self._journal, log=name, signer=self._signer, last=log.last)
            log.growth = Growth(anchored=log.last.size)

    def _run(self) -> None:
        try:
            self._look_again_and_again()
        finally:
            self._stopped.set()  # a service whose logs are not signed any more must not look as if they were

    def _look_again_and_again(self) -> None:
        while True:
            self.look()
            if not self._clock.wait(self._clock.now() + LOOK, self._stopped):
                return
