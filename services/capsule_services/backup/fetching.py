"""Journals that are fetched for a restore: of a machine that was lost whole, only their place has them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from capsule_services.backup.faults import RestoreRefused
from capsule_services.backup.manifest import Manifest, Stored
from capsule_services.runtime.shipping.envelopes import Head
from capsule_services.runtime.shipping.faults import ShippedMissing
from capsule_services.runtime.shipping.setting import JournalPlace, journal_place_at

__all__ = ["Fetching", "known_of"]

_COPIES = ("journal.db", "mirror/journal.db")


@attrs.frozen
class Fetching:
    """Fetches from the place at *address*, if it is one, what the deployment in *folder* has no copy of.

    *known* tells for each journal how far backups have seen it.
    """

    address: str
    folder: Path
    known: Mapping[str, int]
    found: dict[str, tuple[JournalPlace, Head]] = attrs.field(factory=dict, init=False)

    def finds(self, service: str, file: Stored) -> bool:
        """Find the journal that belongs to *file*; False if it is not to be fetched.

        Raises:
            RestoreRefused: the place has no such journal, or lacks what a backup has seen.
            CapsuleError, StartRefused: it cannot be read, or is not what was written there.
        """
        name = f"{service}/journal.db"
        if not self.address or any((self.folder / service / copy).exists() for copy in _COPIES):
            return False
        if name not in self.found:
            place = journal_place_at(self.address, self.folder / service, service, patient=True)
            head = self._head(place, file.journal)
            if head.position < self.known.get(file.journal, 0):
                what = f"the journal of {service} at {self.address} is older than a backup: its end is missing"
                raise RestoreRefused(what, "put a newer copy of it back there")
            self.found[name] = place, head
        return True

    def told(self, service: str) -> str:
        """Say where the journal of a service was fetched, and how many entries; empty if it was not."""
        _, head = self.found.get(f"{service}/journal.db", (None, None))
        if head is None:
            return ""
        count = sum(piece.count for piece in head.pieces) + len(head.tail)
        return f"{count} {'entry' if count == 1 else 'entries'} fetched from {self.address}"

    def _head(self, place: JournalPlace, journal: str) -> Head:
        try:
            return place.head(journal)
        except ShippedMissing:
            what = f"there is no journal of this deployment's {place.service} at {self.address}"
            raise RestoreRefused(what, "check the place, and name the right one with --journal") from None

    def fetch(self, name: str, to: Path) -> None:
        """Fetch the journal that is to be *name*; whole, or not at all.

        Raises:
            CapsuleError: it cannot be read, or is not what was written there.
        """
        place, head = self.found[name]
        place.fetch(head, to)


def known_of(*manifests: Manifest | None) -> Mapping[str, int]:
    """Tell how far backups have seen each journal."""
    known: dict[str, int] = {}
    for manifest in manifests:
        for file in manifest.files.values() if manifest else ():
            known[file.journal] = max(known.get(file.journal, 0), file.position)
    return known
