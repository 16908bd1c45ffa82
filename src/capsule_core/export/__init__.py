"""Contacts in the formats of the world: one module per format, the same two functions in each.

``write(records)`` streams bytes, of a file or of a part of it; ``read(chunks)`` streams back what they say, row by row:
a row is taken whole or refused with its reason, and a refused row never stops the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import attrs

from capsule_core.contacts import Contact, Entry, Photo
from capsule_core.errors import CapsuleError, InvalidField
from capsule_core.export._shape import dismantled
from capsule_core.personal import kind_of

__all__ = ["Exported", "Record", "Refused", "Row", "plain", "plain_record", "refused"]


@attrs.frozen(kw_only=True)
class Exported:
    """One contact with everything that is kept on it, as it leaves; *entries* in the order of their time."""

    contact: Contact = attrs.field(kw_only=False)
    entries: tuple[Entry, ...] = ()
    photo: Photo | None = None
    created: datetime
    updated: datetime


Record: TypeAlias = Exported | Mapping[str, Any]
"""What a writer takes: a value, or in bulk what :func:`plain` would make of it, ready to be written."""


@attrs.frozen
class Row:
    """One contact as a file has it; *number* counts rows from 1, its ids are empty where the format has none."""

    number: int
    contact: Contact
    photo: Photo | None = None
    entries: tuple[Entry, ...] = ()
    created: datetime | None = None
    updated: datetime | None = None


@attrs.frozen(kw_only=True)
class Refused:
    """One row that could not be taken: *reason*, *field* and *problem* of the error it raised, never its content."""

    number: int = attrs.field(kw_only=False)
    reason: str
    field: str
    problem: str


def refused(number: int, error: CapsuleError) -> Refused:
    """Tell of *error*, which row *number* raised."""
    if isinstance(error, InvalidField):
        return Refused(number, reason=error.reason, field=error.field, problem=error.problem)
    return Refused(number, reason=error.reason, field=error.metadata.get("field", ""), problem=str(error))


def plain(record: Record) -> Mapping[str, Any]:
    """Return *record* as texts, flags, lists and dictionaries, with all its fields: the shape of one line of JSON."""
    if not isinstance(record, Exported):
        return record
    return plain_record(
        kind_of(type(record.contact)).name,
        dismantled(record.contact),
        entries=dismantled(record.entries),
        photo=dismantled(record.photo),
        created=record.created,
        updated=record.updated,
    )


def plain_record(
    kind: str,
    contact: Mapping[str, Any],
    *,
    entries: Sequence[Mapping[str, Any]],
    photo: Mapping[str, Any] | None,
    created: datetime,
    updated: datetime,
) -> Mapping[str, Any]:
    """Put together what :func:`plain` returns, of contents that are dictionaries already."""
    return {
        "kind": kind,
        "contact": contact,
        "entries": entries,
        "photo": photo,
        "created": _instant(created),
        "updated": _instant(updated),
    }


def _instant(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise InvalidField("time", "must know its time zone")
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat()[:-6] + "Z"
