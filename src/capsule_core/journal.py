"""The journal: what a restored backup must be told, kept outside the data and its backups.

It is the outbox shipped: an act is committed in the data, its entry is appended here, and only then is it acknowledged.
Entries hold surrogates and sealed pages, nothing readable.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import attrs

from capsule_core.errors import NewerSchema, SealBroken
from capsule_core.names import RecordId, SubjectKey, TenantId, from_micros, micros
from capsule_core.records import Mark, Reason, Sealed, Slot, Trash

__all__ = [
    "Anchored",
    "Entry",
    "Journal",
    "Marked",
    "MemoryJournal",
    "PageResealed",
    "SealedPage",
    "Suppressed",
    "Written",
    "decode",
    "encode",
]


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


@attrs.frozen(kw_only=True)
class Suppressed:
    """Identifiers, as keyed hashes, were barred from coming back, or are let in again (*lift*)."""

    tenant: TenantId
    hashes: tuple[bytes, ...]
    since: datetime
    lift: bool = False


@attrs.frozen
class Written:
    """A record of a kind that a restore must not take back, as it was last sealed: who may sign in, what was kept."""

    record: Sealed


@attrs.frozen
class Anchored:
    """A checkpoint of the log *origin* was signed: what a restored log is compared to (C2SP tlog-checkpoint)."""

    origin: str
    note: str


Entry = PageResealed | Marked | Suppressed | Written | Anchored


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
    return json.dumps(_told(entry), separators=(",", ":"), sort_keys=True).encode()


def decode(line: bytes) -> Entry:
    """Read what :func:`encode` wrote.

    Raises:
        NewerSchema: a newer version of this software wrote it.
        SealBroken: the line was altered.
    """
    try:
        body = json.loads(line)
        for key, read in _READERS.items():
            if key in body:
                return read(body)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        raise SealBroken("entry of the journal") from None
    raise NewerSchema("an entry of the journal")


def _told(entry: Entry) -> dict[str, Any]:
    match entry:
        case PageResealed(page):
            return {
                "page": page.number,
                "tenant": page.tenant,
                "generation": page.generation,
                "key_id": page.key_id.hex(),
                "blob": _text(page.blob),
            }
        case Marked():
            return {"marked": list(map(_row, entry.reasons)), "tenant": entry.tenant, "lift": entry.lift}
        case Suppressed():
            hashes = [each.hex() for each in entry.hashes]
            return {"suppressed": hashes, "tenant": entry.tenant, "since": micros(entry.since), "lift": entry.lift}
        case Written(record):
            return {"written": _columns(record), "tenant": record.tenant}
        case Anchored():
            return {"anchored": entry.note, "origin": entry.origin}


def _row(reason: Reason) -> list[Any]:
    return [reason.id, int(reason.mark), reason.subject, micros(reason.since), reason.record]


def _columns(record: Sealed) -> dict[str, Any]:
    """Write a record without what it is found by: that is derived anew from its contents."""
    columns: dict[str, Any] = {name: getattr(record, name) for name in _PLAIN}
    columns |= {name: micros(getattr(record, name)) for name in _TIMES}
    trash = record.trash and [record.trash.batch, micros(record.trash.at), micros(record.trash.until)]
    slot = [record.slot.page, record.slot.index]
    return {**columns, "slot": slot, "marks": int(record.marks), "blob": _text(record.blob), "trash": trash}


_PLAIN: Final = ("kind", "id", "root", "subject", "version")
_TIMES: Final = ("at", "created", "updated")


def _page(body: dict[str, Any]) -> PageResealed:
    return PageResealed(
        SealedPage(
            tenant=TenantId(body["tenant"]),
            number=body["page"],
            generation=body["generation"],
            key_id=bytes.fromhex(body["key_id"]),
            blob=base64.b64decode(body["blob"]),
        )
    )


def _marked(body: dict[str, Any]) -> Marked:
    return Marked(tenant=TenantId(body["tenant"]), reasons=tuple(map(_reason, body["marked"])), lift=body["lift"])


def _suppressed(body: dict[str, Any]) -> Suppressed:
    hashes = tuple(map(bytes.fromhex, body["suppressed"]))
    since = from_micros(body["since"])
    return Suppressed(tenant=TenantId(body["tenant"]), hashes=hashes, since=since, lift=body["lift"])


def _written(body: dict[str, Any]) -> Written:
    told = body["written"]
    trash = told["trash"] and Trash(
        batch=told["trash"][0], at=from_micros(told["trash"][1]), until=from_micros(told["trash"][2])
    )
    columns: dict[str, Any] = {name: told[name] for name in _PLAIN}
    columns |= {name: from_micros(told[name]) for name in _TIMES}
    return Written(
        Sealed(
            **columns,
            tenant=TenantId(body["tenant"]),
            slot=Slot(*told["slot"]),
            marks=Mark(told["marks"]),
            blob=base64.b64decode(told["blob"]),
            trash=trash,
        )
    )


def _anchored(body: dict[str, Any]) -> Anchored:
    return Anchored(body["origin"], body["anchored"])


_READERS: Final[Mapping[str, Callable[[dict[str, Any]], Entry]]] = {
    "page": _page,
    "marked": _marked,
    "suppressed": _suppressed,
    "written": _written,
    "anchored": _anchored,
}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _reason(row: list[Any]) -> Reason:
    identity, mark, subject, since, record = row
    return Reason(
        id=identity,
        mark=Mark(mark),
        subject=SubjectKey(subject),
        since=from_micros(since),
        record=None if record is None else RecordId(record),
    )
