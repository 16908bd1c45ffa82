"""A record opened: its contents, and what the store knows of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

import attrs

from capsule_core import codec
from capsule_core.names import RecordId, SubjectKey, TenantId, from_micros, micros
from capsule_core.personal import Kind
from capsule_core.records import Cursor, Sealed, Slot, Trash

__all__ = ["Kept", "Listing", "Opened", "from_plain", "kept_as", "to_plain"]

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Kept(Generic[T]):
    """A record opened.

    *at* is its time in the business; *version* counts its contents, so that trash and restore leave it as it is.
    """

    tenant: TenantId
    kind: str
    id: RecordId
    root: RecordId
    subject: SubjectKey
    slot: Slot
    version: int
    at: datetime
    created: datetime
    updated: datetime
    trash: Trash | None
    content: T


@attrs.frozen
class Listing:
    """Some records, newest first, and where to go on; None after the last."""

    records: tuple[Kept[Any], ...]
    after: Cursor | None


@attrs.frozen
class Opened:
    """Some records, newest first, beside them their contents as ``codec.encode`` writes them, and where to go on."""

    records: tuple[Sealed, ...]
    contents: list[bytes] = attrs.field(repr=False)
    after: Cursor | None


def kept_as(record: Sealed, content: T) -> Kept[T]:
    """Put together what the store knows and the contents that were opened."""
    return Kept(
        tenant=record.tenant,
        kind=record.kind,
        id=record.id,
        root=record.root,
        subject=record.subject,
        slot=record.slot,
        version=record.version,
        at=record.at,
        created=record.created,
        updated=record.updated,
        trash=record.trash,
        content=content,
    )


def to_plain(kept: Kept[Any]) -> dict[str, Any]:
    """Write it as dictionaries, lists, numbers and text."""
    trash = kept.trash
    return {
        "tenant": kept.tenant,
        "kind": kept.kind,
        "id": kept.id,
        "root": kept.root,
        "subject": kept.subject,
        "slot": [kept.slot.page, kept.slot.index],
        "version": kept.version,
        "times": [micros(kept.at), micros(kept.created), micros(kept.updated)],
        "trash": None if trash is None else [trash.batch, micros(trash.at), micros(trash.until)],
        "content": codec.to_plain(kept.content),
    }


def from_plain(plain: Mapping[str, Any], kinds: Mapping[str, Kind]) -> Kept[Any]:
    """Read what :func:`to_plain` wrote."""
    at, created, updated = map(from_micros, plain["times"])
    trash = plain["trash"]
    return Kept(
        tenant=TenantId(plain["tenant"]),
        kind=plain["kind"],
        id=RecordId(plain["id"]),
        root=RecordId(plain["root"]),
        subject=SubjectKey(plain["subject"]),
        slot=Slot(*plain["slot"]),
        version=plain["version"],
        at=at,
        created=created,
        updated=updated,
        trash=None if trash is None else Trash(batch=trash[0], at=from_micros(trash[1]), until=from_micros(trash[2])),
        content=codec.from_plain(plain["content"], kinds[plain["kind"]]),
    )
