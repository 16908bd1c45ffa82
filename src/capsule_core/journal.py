"""The journal: what a restored backup must be told, kept outside the data and its backups.

It is the outbox shipped: an act is committed in the data, its entry is appended here, and only then is it acknowledged.
Entries hold surrogates, sealed pages and sealed records, nothing readable.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import attrs

from capsule_core.errors import NewerSchema, SealBroken
from capsule_core.names import RecordId, SubjectKey, TenantId, from_micros, micros
from capsule_core.records import Mark, Reason, Sealed, Slot, Trash

__all__ = [
    "Anchored",
    "Entry",
    "Founded",
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
class Founded:
    """A journal was begun; *id* says which data it belongs to."""

    id: str


@attrs.frozen
class PageResealed:
    """A page was made, or sealed anew without the keys of erased subjects."""

    page: SealedPage


@attrs.frozen(kw_only=True)
class Marked:
    """Reasons were put on subjects or records, or lifted; an erasure is the mark ERASED.

    *slots* are where the keys of the subjects lie, one for each reason: a restored store may not know them. *detail* is
    what the act said of itself: of a fence, which erasure it began.
    """

    tenant: TenantId
    reasons: tuple[Reason, ...]
    lift: bool = False
    slots: tuple[Slot, ...] = ()
    detail: Mapping[str, str] = attrs.Factory(dict[str, str])


@attrs.frozen(kw_only=True)
class Suppressed:
    """Identifiers, as keyed hashes, were barred from coming back, or are let in again (*lift*)."""

    tenant: TenantId
    hashes: tuple[bytes, ...]
    since: datetime
    lift: bool = False


def _sealed_alone(record: Sealed) -> Sealed:
    """What a record is found by is derived anew from its contents."""
    return attrs.evolve(record, tokens=(), claims=(), signature=b"")


@attrs.frozen
class Written:
    """A record of a kind that a restore must not take back, as it was last sealed: who may sign in, what was kept."""

    record: Sealed = attrs.field(converter=_sealed_alone)


@attrs.frozen
class Anchored:
    """A checkpoint of the log *origin* was signed: what a restored log is compared to (C2SP tlog-checkpoint)."""

    origin: str
    note: str


Entry = Founded | PageResealed | Marked | Suppressed | Written | Anchored


class Journal(Protocol):
    """Keeps entries in order.

    C1. ``append`` returns when the entries are durable, on every mirror, and all of them or none: the position of the
        last of them; of no entries, that of the last there is now, or 0.
    C2. ``since(0)`` gives every entry once, in the order of appending, each with its position; positions grow.
    C3. ``newest_page`` gives the last re-sealing of a page under that key, if there was one.
    C4. ``drop`` takes out the entries at the positions given and no other; the others keep their positions, and none is
        given out again.
    C5. ``settle`` returns when every entry appended before is also wherever else the journal is kept; it raises if that
        cannot be, and changes nothing that is told. Until then nothing is acknowledged, and no key destroyed.
    """

    def append(self, entries: Sequence[Entry]) -> int:
        """Keep *entries*, all or none; return the position of the last one."""
        ...

    def since(self, position: int) -> Iterator[tuple[int, Entry]]:
        """Give the entries after *position*."""
        ...

    def newest_page(self, tenant: TenantId, number: int, key_id: bytes) -> SealedPage | None:
        """Return the page as it was last re-sealed under *key_id*."""
        ...

    def drop(self, positions: Collection[int]) -> None:
        """Take out the entries at *positions*: what nobody will ask for any more (see ``compacting``)."""
        ...

    def settle(self) -> None:
        """Return when what was appended is everywhere that it is to be.

        Raises:
            Unavailable: it is not, and may be later; what was appended stays.
        """
        ...


class MemoryJournal:
    """A journal that lives as long as the process."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._newest = 0
        self._lock = threading.Lock()

    def append(self, entries: Sequence[Entry]) -> int:
        """Keep *entries*, all or none; return the position of the last one."""
        with self._lock:
            self._entries |= enumerate(entries, start=self._newest + 1)
            self._newest += len(entries)
            return self._newest if entries else max(self._entries, default=0)

    def since(self, position: int) -> Iterator[tuple[int, Entry]]:
        """Give the entries after *position*."""
        with self._lock:
            snapshot = [(place, self._entries[place]) for place in self._after(position)]
        yield from snapshot

    def newest_page(self, tenant: TenantId, number: int, key_id: bytes) -> SealedPage | None:
        """Return the page as it was last re-sealed under *key_id*."""
        with self._lock:
            entries = list(self._entries.values())
        for entry in reversed(entries):
            if isinstance(entry, PageResealed):
                page = entry.page
                if (page.tenant, page.number, page.key_id) == (tenant, number, key_id):
                    return page
        return None

    def drop(self, positions: Collection[int]) -> None:
        """Take out the entries at *positions*."""
        with self._lock:
            for position in positions:
                self._entries.pop(position, None)

    def settle(self) -> None:
        """Return: it is nowhere else."""

    def _after(self, position: int) -> Iterator[int]:
        return (place for place in range(position + 1, self._newest + 1) if place in self._entries)


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
        case Founded(name):
            return {"founded": name}
        case PageResealed(page):
            return {
                "page": page.number,
                "tenant": page.tenant,
                "generation": page.generation,
                "key_id": page.key_id.hex(),
                "blob": _text(page.blob),
            }
        case Marked():
            slots = [[slot.page, slot.index] for slot in entry.slots]
            more = {"slots": slots, "detail": dict(entry.detail)}
            told = {"marked": list(map(_row, entry.reasons)), "tenant": entry.tenant, "lift": entry.lift}
            return told | {name: value for name, value in more.items() if value}
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
    columns: dict[str, Any] = {name: getattr(record, name) for name in _PLAIN}
    columns |= {name: micros(getattr(record, name)) for name in _TIMES}
    trash = record.trash and [record.trash.batch, micros(record.trash.at), micros(record.trash.until)]
    slot = [record.slot.page, record.slot.index]
    return {**columns, "slot": slot, "marks": int(record.marks), "blob": _text(record.blob), "trash": trash}


_PLAIN: Final = ("kind", "id", "root", "subject", "version")
_TIMES: Final = ("at", "created", "updated")


def _founded(body: dict[str, Any]) -> Founded:
    return Founded(body["founded"])


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
    return Marked(
        tenant=TenantId(body["tenant"]),
        reasons=tuple(map(_reason, body["marked"])),
        lift=body["lift"],
        slots=tuple(Slot(*each) for each in body.get("slots", ())),
        detail=body.get("detail", {}),
    )


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
    "founded": _founded,
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
