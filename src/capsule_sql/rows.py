"""How rows become values of the domain."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from capsule_core.names import RecordId, SubjectKey, TenantId, from_micros
from capsule_core.records import Mark, Refused, Sealed, Slot, Touched, Trash

__all__ = ["SEALED", "TOUCHED", "marks", "sealed", "seen", "touched", "touched_by", "words"]

TOUCHED: Final = "r.no, r.id, r.kind, s.key, s.page, s.place, r.version"
"""The columns that :func:`touched` reads; r is the record, s its subject."""

SEALED: Final = f"""{TOUCHED}, r.root, r.at, r.created, r.updated, r.sealed, r.batch, r.trashed, r.until,
  r.restored, r.done, r.marks | s.marks"""
"""The columns that :func:`sealed` reads."""

marks: Final = cache(Mark)
"""Read a number as marks: there are few, and rows have many."""


def touched(row: Sequence[Any]) -> Touched:
    """Say what was touched."""
    _, name, kind, subject, page, place, version = row
    return Touched(id=RecordId(name), kind=kind, subject=SubjectKey(subject), slot=Slot(page, place), version=version)


def touched_by(draft: Sealed) -> Touched:
    """Say what writing a draft touches."""
    return Touched(id=draft.id, kind=draft.kind, subject=draft.subject, slot=draft.slot, version=draft.version)


def sealed(tenant: TenantId, row: Sequence[Any]) -> Sealed:
    """Return the record, with the marks that it and its subject carry."""
    _, name, kind, subject, page, place, version, root, *rest = row
    at, created, updated, blob, batch, trashed, until, restored, done, carried = rest
    return Sealed(
        tenant=tenant,
        kind=kind,
        id=RecordId(name),
        root=RecordId(root),
        subject=SubjectKey(subject),
        slot=Slot(page, place),
        version=version,
        at=from_micros(at),
        created=from_micros(created),
        updated=from_micros(updated),
        blob=blob,
        trash=None if batch is None else Trash(batch=batch, at=from_micros(trashed), until=from_micros(until)),
        restored=None if restored is None else from_micros(restored),
        done=done,
        marks=marks(carried),
    )


def seen(record: Sealed, admits: Mark) -> Sealed | Refused:
    """Withhold a record that carries more than *admits*."""
    return Refused(record.marks) if record.marks & ~admits else record


def words(signature: bytes) -> tuple[int, ...]:
    """Split a signature into four signed numbers of 64 bits."""
    return struct.unpack(">4q", signature.rjust(32, b"\0"))
