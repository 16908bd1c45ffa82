"""Entries of the history, of the wire and of the domain, both ways and total."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.contacts import Entry
from capsule_core.errors import CardNumberFound, InvalidField
from capsule_core.intake import refuse_cards
from capsule_core.kept import Kept
from capsule_core.personal import kind_of
from capsule_services.contacts.names import entry_name, user_name
from capsule_services.runtime.etags import etag

__all__ = ["entry_from", "entry_to"]

_DIRECTIONS: Final = {pb.Entry.DIRECTION_UNSPECIFIED: "", pb.Entry.INCOMING: "in", pb.Entry.OUTGOING: "out"}
_ON_WIRE: Final = {"channel": "kind", "occurred_at": "occur_time"}


def entry_from(message: pb.Entry, *, now: datetime, field: str = "entry") -> Entry:
    """Read an entry without ids; what does not say when it was, is *now*.

    Raises:
        InvalidField: it is no entry; the path is the wire's.
        CardNumberFound: a text holds a payment card number; likewise.
    """
    try:
        entry = Entry(
            id="",
            contact="",
            channel=pb.Entry.Kind.Name(message.kind).lower(),
            occurred_at=_instant(message, now),
            direction=_DIRECTIONS[message.direction],
            subject_line=message.subject_line,
            body=message.body,
        )
        refuse_cards(kind_of(Entry), entry)
    except InvalidField as error:
        raise InvalidField(f"{field}.{_ON_WIRE.get(error.field, error.field)}", error.problem) from None
    except CardNumberFound as error:
        raise CardNumberFound(f"{field}.{error.field}") from None
    return entry


def entry_to(kept: Kept[Entry]) -> pb.Entry:
    """Write an entry as it is answered."""
    entry = kept.content
    message = pb.Entry(
        name=entry_name(kept.tenant, kept.root, kept.id),
        kind=pb.Entry.Kind.Value(entry.channel.upper()),
        direction={text: value for value, text in _DIRECTIONS.items()}[entry.direction],
        subject_line=entry.subject_line,
        body=entry.body,
        author=user_name(kept.tenant, entry.author),
        state=pb.Entry.ACTIVE if kept.trash is None else pb.Entry.DELETED,
        etag=etag(kept.version, trashed=kept.trash is not None),
    )
    message.occur_time.FromDatetime(datetime.fromisoformat(entry.occurred_at))
    message.create_time.FromDatetime(kept.created)
    message.update_time.FromDatetime(kept.updated)
    if kept.trash is not None:
        message.delete_time.FromDatetime(kept.trash.at)
        message.purge_time.FromDatetime(kept.trash.until)
    return message


def _instant(message: pb.Entry, now: datetime) -> str:
    if not message.HasField("occur_time"):
        return _written(now)
    try:
        return _written(message.occur_time.ToDatetime(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise InvalidField("occurred_at", "must lie between the years 1 and 9999") from None


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
