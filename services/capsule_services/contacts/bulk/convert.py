"""What is stale, on the wire and in the domain."""

from __future__ import annotations

import re
from datetime import UTC
from typing import Final

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.errors import InvalidField
from capsule_core.moments import Before, Event, Past

__all__ = ["batch_from", "stale_from"]

_EVENTS: Final = {
    "not_updated_since": Event.UPDATED,
    "not_opened_since": Event.OPENED,
    "not_contacted_since": Event.CONTACTED,
}
_BATCH: Final = re.compile(r"b[a-v0-9]{26}")


def stale_from(message: pb.Stale, *, field: str = "stale") -> Past | None:
    """Read what must not have happened since when; None if nothing is said.

    Raises:
        InvalidField: a time is not one of the years 1 to 9999.
    """
    groups = []
    for name, event in _EVENTS.items():
        if message.HasField(name):  # type: ignore[arg-type]
            try:
                at = getattr(message, name).ToDatetime(tzinfo=UTC)
            except (ValueError, OverflowError):
                raise InvalidField(f"{field}.{name}", "must be a time of the years 1 to 9999") from None
            groups.append((Before(event, at),))
    return Past(tuple(groups)) if groups else None


def batch_from(text: str) -> str:
    """Read the batch that an earlier call answered; empty if there was none.

    Raises:
        InvalidField: it is no batch.
    """
    if text and not _BATCH.fullmatch(text):
        raise InvalidField("batch", "must be sent back as it was answered")
    return text
