"""A journal in files that is shipped to a place, for tests: what was appended here, and what is there."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs

from capsule_core.journal import Entry, Founded, Marked, PageResealed, SealedPage
from capsule_core.names import SubjectKey, TenantId, from_micros
from capsule_core.records import Mark, Reason
from capsule_services.places.place import Place
from capsule_services.runtime.private import write_private
from capsule_services.runtime.shipping.envelopes import Envelope, JournalKey
from capsule_services.runtime.shipping.journal import ShippedJournal
from capsule_services.runtime.shipping.reading import read_entries, read_heads
from capsule_services.runtime.shipping.setting import JournalPlace
from capsule_services.runtime.shipping.shipper import Shipper
from capsule_sql.database import open_database
from capsule_sql.journals import SqlJournal
from capsule_sql.migration import Role

SECRET = bytes(range(32))
ID = "0123456789abcdef"
ACME = TenantId("acme-of-readable-name")


def marked(no: int) -> Marked:
    reason = Reason(id=f"hold-{no}", mark=Mark.HELD, subject=SubjectKey("s1"), since=from_micros(no))
    return Marked(tenant=ACME, reasons=(reason,))


def resealed(number: int, generation: int, *, size: int = 8000) -> PageResealed:
    key_id = generation.to_bytes(8, "big")
    blob = secrets.token_bytes(size)
    return PageResealed(SealedPage(tenant=ACME, number=number, generation=generation, key_id=key_id, blob=blob))


@attrs.frozen
class Shipped:
    """One process's view of a journal in *folder* that is shipped to *place*."""

    folder: Path
    place: Place
    local: SqlJournal
    shipper: Shipper

    @property
    def journal(self) -> ShippedJournal:
        return ShippedJournal(self.local, self.shipper)

    def acknowledged(self, *entries: Entry) -> None:
        """Append, and return when it may be acknowledged."""
        self.journal.append(entries)
        self.journal.settle()

    def here(self) -> list[tuple[int, Entry]]:
        return list(self.local.since(0))


def journal_place(folder: Path, place: Place, *, secret: bytes = SECRET) -> JournalPlace:
    folder.mkdir(parents=True, exist_ok=True)
    if not (key := folder / "journal.key").exists():
        write_private(key, secret)
    return JournalPlace("contacts", folder, "s3://somewhere", place)


@cache
def _empty() -> bytes:
    """Return the file of a journal without entries, made once: migrations take their time."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "journal.db"
        open_database(file, Role.JOURNAL).close()
        return file.read_bytes()


@contextmanager
def shipping(folder: Path, place: Any, *, secret: bytes = SECRET, journal: str = ID) -> Iterator[Shipped]:
    """Open a journal, made at first use, and what ships it."""
    setting = journal_place(folder, place, secret=secret)
    if not (file := folder / "journal.db").exists():
        file.write_bytes(_empty())
    with ExitStack() as stack:
        local = SqlJournal(stack.enter_context(closing(open_database(file, Role.JOURNAL))))
        if not local.append(()):
            local.append([Founded(journal)])
        yield Shipped(folder, place, local, setting.shipper(local))


def there(place: Place, *, secret: bytes = SECRET, journal: str = ID) -> list[tuple[int, Entry]]:
    """Read what is at a place, whole or not at all, as a restore does."""
    folder = f"journal/contacts/{journal}/"
    envelope = Envelope(JournalKey(secret), folder, f"s3://somewhere/{folder.rstrip('/')}")
    head = read_heads(place, envelope, journal).head
    assert head is not None
    return list(read_entries(place, envelope, head))


def dropped(shipped: Shipped) -> None:
    """Drop here what later sealings have replaced."""
    newest = {entry.page.number: no for no, entry in shipped.here() if isinstance(entry, PageResealed)}
    old = [no for no, entry in shipped.here() if isinstance(entry, PageResealed) and newest[entry.page.number] != no]
    shipped.local.drop(old)
