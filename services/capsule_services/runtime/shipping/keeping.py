"""The journal of a service as its settings say: in the folder and on the mirror, and at a place too if there is one.

An act that waits for the place is done and not acknowledged. When the place is back what waits goes there, and what was
begun meanwhile is led to its end, unaided.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
from structlog.typing import FilteringBoundLogger

from capsule_core.errors import CapsuleError, Unavailable
from capsule_core.journal import Journal
from capsule_services.runtime.health import Ailment, Health, Look
from capsule_services.runtime.shipping.faults import JournalUnshipped
from capsule_services.runtime.shipping.journal import ShippedJournal
from capsule_services.runtime.shipping.setting import JournalPlace, journal_place_at
from capsule_services.runtime.shipping.shipper import Shipper

__all__ = ["Keeping", "fetch_lost", "place_of"]


@attrs.define(eq=False)
class Keeping:
    """The journal *local*, and what ships it; *log* hears of it."""

    local: Journal
    shipper: Shipper | None
    _log: FilteringBoundLogger
    _late: threading.Event = attrs.field(factory=threading.Event, init=False)

    @property
    def journal(self) -> Journal:
        """The journal that everybody else uses."""
        return self.local if self.shipper is None else ShippedJournal(self.local, self.shipper)

    @property
    def readings(self) -> Mapping[str, Callable[[], float]]:
        """Numbers for whoever watches."""
        shipper = self.shipper
        return {} if shipper is None else {"capsule_journal_behind": lambda: shipper.behind}

    def begin(self) -> None:
        """Find out whether what is at the place is ours, and ship what is not there yet.

        Raises:
            CapsuleError: it is of another journal, damaged, or may not be used; a place that does not answer is waited
                for later.
        """
        if self.shipper is not None:
            try:
                self.shipper.look(always=True)
            except Unavailable:
                self._late.set()

    def patiently(self, work: Callable[[], object]) -> None:
        """Do *work*, or leave it for later if the place does not answer."""
        try:
            work()
        except JournalUnshipped:
            self._late.set()

    def tidy(self) -> None:
        """Drop at the place what was dropped here.

        Raises:
            CapsuleError: the place does not answer.
        """
        if self.shipper is not None:
            self.shipper.tidy()

    def watched(self, health: Health, resume: Callable[[], object]) -> Mapping[Ailment, Look]:
        """Let *health* hear of the place; say how to look at it, and to *resume* what waited when it is back."""
        shipper = self.shipper
        if shipper is None:
            return {}

        def tell(wrong: CapsuleError | None) -> None:
            if wrong is None:
                self._log.info("journal_shipped")
                health.mended(Ailment.PLACE)
            else:
                self._log.error("journal_unshipped", error=type(wrong))
                health.ails(Ailment.PLACE)
                self._late.set()

        def look() -> None:
            shipper.look()
            if self._late.is_set():
                self._resume(resume)

        shipper.told = tell
        return {Ailment.PLACE: look}

    def _resume(self, resume: Callable[[], object]) -> None:
        self._late.clear()
        try:
            resume()
        except JournalUnshipped:
            self._late.set()
            raise
        except CapsuleError as error:
            self._log.error("lead_postponed", reason=error.reason)


def place_of(address: str | None, folder: Path, service: str) -> JournalPlace | None:
    """Open the place that the setting names; None if it names none.

    Raises:
        StartRefused, PlaceRefused: it is no place, or none for this folder.
    """
    return None if not address else journal_place_at(address, folder, service, patient=False)


def fetch_lost(place: JournalPlace | None, journal: str, copies: tuple[Path, Path], log: FilteringBoundLogger) -> None:
    """Fetch the journal that data belongs to, if neither of its *copies* is there.

    Raises:
        CapsuleError: it cannot be read whole; nothing was changed.
    """
    if place is not None and journal and not any(copy.exists() for copy in copies):
        place.fetch(place.head(journal), copies[0])
        log.info("journal_fetched")
