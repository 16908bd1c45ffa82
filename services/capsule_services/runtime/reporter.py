"""The reporter: tells the privacy service of every erasure that was committed here.

The ledger is its outbox: it walks the commit leaves and remembers in a small file how far it came. A report that was
not confirmed is made again; the privacy service takes each one once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs
from structlog.typing import FilteringBoundLogger

from capsule_core import story
from capsule_core.errors import CapsuleError, Unavailable
from capsule_core.ledger import Leaf
from capsule_core.receipts import Receipt
from capsule_services.runtime.holding import Holding

__all__ = ["Report", "Reporter"]

Report = Callable[[Receipt], bool]
"""Tells of one erasure, and returns whether it is done everywhere; CapsuleError if nobody could be told."""

_AT_ONCE: Final = 500
_AGAIN: Final = 2.0
"""Seconds until a report that was not taken is made again."""


@attrs.define(eq=False)
class Reporter:
    """Reports the erasures of *holding*, in a thread of its own, until *stopped*."""

    _holding: Holding
    _report: Report
    _cursor: Path
    _stopped: threading.Event
    _log: FilteringBoundLogger
    _awake: threading.Event = attrs.field(factory=threading.Event, init=False)
    _waiting: dict[int, Receipt] = attrs.field(factory=dict, init=False, repr=False)

    def start(self) -> None:
        """Begin, with what is still unreported."""
        threading.Thread(target=self._run, name="reporter", daemon=True).start()

    def wake(self) -> None:
        """Look now: something was erased."""
        self._awake.set()

    def _run(self) -> None:
        try:
            self._report_all()
        finally:
            self._stopped.set()  # a service that cannot report any more must not look as if it could

    def _report_all(self) -> None:
        read = self._position()
        self._awake.set()
        while not self._stopped.is_set():
            self._awake.wait(_AGAIN)
            self._awake.clear()
            try:
                read = self._find(read)
                self._tell()
                self._remember(min(self._waiting, default=read))
            except CapsuleError as error:
                self._log.info("report_postponed", reason=error.reason)
            except OSError:  # a full disk: what is not remembered is reported again
                self._log.info("report_postponed", reason=Unavailable.reason)

    def _find(self, position: int) -> int:
        """Collect what was committed from *position* on; return how far the ledger was read."""
        while leaves := self._holding.ledger.read(position, _AT_ONCE):
            for index, data in enumerate(leaves, start=position):
                leaf = Leaf.decode(data)
                if leaf.act == story.COMMIT:
                    receipt = self._receipt(leaf)
                    if receipt is None:
                        return index  # its answers are not to be seen yet; it is looked at again
                    self._waiting[index] = receipt
            position += len(leaves)
        return position

    def _tell(self) -> None:
        """Report what waits; what is refused or not done everywhere yet waits on, and holds up nothing else."""
        for index, receipt in list(self._waiting.items()):
            try:
                if self._report(receipt):
                    del self._waiting[index]
            except Unavailable:
                raise  # nobody is there to tell the others to
            except CapsuleError as error:
                self._log.info("report_postponed", reason=error.reason)

    def _receipt(self, leaf: Leaf) -> Receipt | None:
        """Return the receipt of a commit; None while there is none."""
        now = self._holding.now()
        return self._holding.eraser.receipt(leaf.tenant, leaf.detail["erasure"], now=now)

    def _position(self) -> int:
        try:
            return int(self._cursor.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return 0  # whatever was reported before is taken once all the same

    def _remember(self, position: int) -> None:
        fresh = self._cursor.with_suffix(".new")
        fresh.write_text(f"{position}\n", encoding="ascii")
        fresh.replace(self._cursor)
