"""What the setting of the journal's place comes to: the place itself, the key, and what is kept or fetched there."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import attrs

from capsule_core.journal import Entry, Founded, Journal
from capsule_core.sealing import KEY_BYTES
from capsule_services.places.place import FolderPlace, Place, open_place
from capsule_services.runtime.begun import begun_in
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.shipping.apart import check_apart
from capsule_services.runtime.shipping.envelopes import Envelope, Head, JournalKey, folder_of
from capsule_services.runtime.shipping.faults import ShippedMissing
from capsule_services.runtime.shipping.reading import read_entries, read_heads
from capsule_services.runtime.shipping.shipper import Shipper
from capsule_sql.database import open_database
from capsule_sql.journals import fill_journal
from capsule_sql.migration import Role
from capsule_sql.root_key import load_or_create_root_key

__all__ = ["JOURNAL_KEY", "JournalPlace", "journal_place_at"]

JOURNAL_KEY: Final = "journal.key"
"""The file in a service's folder with the key of its shipped journal."""


@attrs.frozen
class JournalPlace:
    """Where a *service*, whose files are in *folder*, keeps its journal too."""

    service: str
    folder: Path
    address: str
    place: Place = attrs.field(repr=False)

    def shipper(self, local: Journal) -> Shipper:
        """Make what ships *local*; the key is made at first use."""
        journal = next((entry.id for _, entry in local.since(0) if isinstance(entry, Founded)), "")
        key = JournalKey(load_or_create_root_key(self.folder / JOURNAL_KEY))
        return Shipper(local, journal, self.place, self.envelope(journal, key), self.folder, secrets.token_bytes)

    def head(self, journal: str) -> Head:
        """Return what the place has of a *journal*.

        Raises:
            ShippedMissing: nothing.
            StartRefused: the key is missing.
            CapsuleError: it cannot be read, or is not what was written.
        """
        envelope = self.envelope(journal, self._key())
        head = read_heads(self.place, envelope, journal).head
        if head is None:
            raise ShippedMissing(envelope.place)
        return head

    def entries(self, head: Head) -> Iterator[tuple[int, Entry]]:
        """Give every entry of a journal, in order; errors as :meth:`head`."""
        return read_entries(self.place, self.envelope(head.journal, self._key()), head)

    def fetch(self, head: Head, to: Path) -> None:
        """Make of what is there the file of a journal, which must not be there yet; whole, or not at all.

        Raises:
            CapsuleError: it cannot be read, or is not what was written.
        """
        draft = to.with_name(f".{to.name}.fetched")
        _remove(draft)
        try:
            with closing(open_database(draft, Role.JOURNAL)) as database:
                fill_journal(database, self.entries(head), newest=head.position)
            draft.replace(to)
        finally:
            _remove(draft)

    def envelope(self, journal: str, key: JournalKey) -> Envelope:
        """Return what seals and opens the objects of a *journal*."""
        folder = folder_of(self.service, journal)
        return Envelope(key, folder, f"{self.address.rstrip('/')}/{folder.rstrip('/')}")

    def _key(self) -> JournalKey:
        file = self.folder / JOURNAL_KEY
        try:
            secret = file.read_bytes()
        except OSError:
            secret = b""
        if len(secret) != KEY_BYTES:
            raise StartRefused(f"{file}, the key of the journal at {self.address}, is not there; put it back")
        return JournalKey(secret)


def journal_place_at(address: str, folder: Path, service: str, *, patient: bool) -> JournalPlace:
    """Open the place of the journal of a *service* whose files are in *folder*.

    Raises:
        StartRefused: it is in the folder or in that of the deployment, or the folder in it.
        PlaceRefused: it is no place.
    """
    if begun_in(folder.parent):
        check_apart(address, folder.parent)
    place = open_place(address, patient=patient)
    if isinstance(place, FolderPlace):
        theirs, ours = place.folder.resolve(), folder.resolve()
        if theirs.is_relative_to(ours) or ours.is_relative_to(theirs):
            raise StartRefused(
                f"the journal's place {address} and {folder} lie in each other; name one on another medium"
            )
    return JournalPlace(service, folder, address, place)


def _remove(draft: Path) -> None:
    for more in ("", "-wal", "-shm"):
        draft.with_name(f"{draft.name}{more}").unlink(missing_ok=True)
