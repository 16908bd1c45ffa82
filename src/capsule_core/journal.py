"""The journal: what a restored backup must be told, kept outside the data and its backups.

It is the outbox shipped: an act is committed in the data, its entry is appended here, and only then is it acknowledged.
Entries hold surrogates and sealed pages, nothing readable.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import attrs

from capsule_core.names import RecordId, SubjectKey, TenantId, from_micros, micros
from capsule_core.records import Mark, Reason

__all__ = ["Entry", "Journal", "Marked", "MemoryJournal", "PageResealed", "SealedPage", "decode", "encode"]


@attrs.frozen(kw_only=True)
class SealedPage:
    """A key page as it is stored: *blob* opens only under the page key *key_id*; each re-sealing is a *generation*."""

    tenant: TenantId
    number: int
    generation: int
    key_id: bytes
    blob: bytes = attrs.field(repr=False)


@attrs.frozen
class PageResealed:
    """A page was sealed anew without the keys of erased subjects."""

    page: SealedPage


@attrs.frozen(kw_only=True)
class Marked:
    """Reasons were put on subjects or records, or lifted; an erasure is the mark ERASED."""

    tenant: TenantId
    reasons: tuple[Reason, ...]
    lift: bool = False


Entry = PageResealed | Marked


class Journal(Protocol):
    """Keeps entries in order.

    C1. ``append`` returns when the entries are durable, on every mirror.
    C2. ``since(0)`` gives every entry once, in the order of appending, each with its position; positions grow.
    C3. ``newest_page`` gives the last re-sealing of a page under that key, if there was one.
    """

    def append(self, entries: Sequence[Entry]) -> None:
        """Keep *entries*, all or none."""
        ...

    def since(self, position: int) -> Iterator[tuple[int, Entry]]:
        """Give the entries after *position*."""
        ...

    def newest_page(self, tenant: TenantId, number: int, key_id: bytes) -> SealedPage | None:
        """Return the page as it was last re-sealed under *key_id*."""
        ...


class MemoryJournal:
    """A journal that lives as long as the process."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._lock = threading.Lock()

    def append(self, entries: Sequence[Entry]) -> None:
        """Keep *entries*, all or none."""
        with self._lock:
            self._entries.extend(entries)

    def since(self, position: int) -> Iterator[tuple[int, Entry]]:
        """Give the entries after *position*."""
        with self._lock:
            snapshot = self._entries[position:]
        yield from enumerate(snapshot, start=position + 1)

    def newest_page(self, tenant: TenantId, number: int, key_id: bytes) -> SealedPage | None:
        """Return the page as it was last re-sealed under *key_id*."""
        for entry in reversed(self._entries):
            if isinstance(entry, PageResealed):
                page = entry.page
                if (page.tenant, page.number, page.key_id) == (tenant, number, key_id):
                    return page
        return None


def encode(entry: Entry) -> bytes:
    """Write an entry as one line of JSON."""
    body: dict[str, Any]
    if isinstance(entry, PageResealed):
        page = entry.page
        body = {
            "page": page.number,
            "tenant": page.tenant,
            "generation": page.generation,
            "key_id": page.key_id.hex(),
            "blob": base64.b64encode(page.blob).decode("ascii"),
        }
    else:
        reasons = [
            [reason.id, int(reason.mark), reason.subject, micros(reason.since), reason.record]
            for reason in entry.reasons
        ]
        body = {"marked": reasons, "tenant": entry.tenant, "lift": entry.lift}
    return json.dumps(body, separators=(",", ":"), sort_keys=True).encode()


def decode(line: bytes) -> Entry:
    """Read what :func:`encode` wrote."""
    body = json.loads(line)
    tenant = TenantId(body["tenant"])
    if "page" in body:
        return PageResealed(
            SealedPage(
                tenant=tenant,
                number=body["page"],
                generation=body["generation"],
                key_id=bytes.fromhex(body["key_id"]),
                blob=base64.b64decode(body["blob"]),
            )
        )
    return Marked(tenant=tenant, reasons=tuple(map(_reason, body["marked"])), lift=body["lift"])


def _reason(row: list[Any]) -> Reason:
    identity, mark, subject, since, record = row
    return Reason(
        id=identity,
        mark=Mark(mark),
        subject=SubjectKey(subject),
        since=from_micros(since),
        record=None if record is None else RecordId(record),
    )
