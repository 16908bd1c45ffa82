"""What keeps somebody on a saved list from being thrown away with it: what has happened since it was saved."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from capsule_core.moments import Before, Event, Events, Past, is_past
from capsule_core.names import SubjectKey
from capsule_core.protection import EVERYBODY
from capsule_core.records import GUARDED, Mark, Sealed, events_of
from capsule_core.stores import Store

__all__ = ["Obstacle", "obstacles", "untouched_since"]


class Obstacle(enum.Enum):
    """Why somebody is left out."""

    UPDATED = "updated"
    OPENED = "opened"
    CONTACTED = "contacted"
    HELD = "held"
    RESTRICTED = "restricted"
    TRASHED = "trashed"


_ACTIVITY: Final[Mapping[Event, Obstacle]] = {
    Event.UPDATED: Obstacle.UPDATED,
    Event.OPENED: Obstacle.OPENED,
    Event.CONTACTED: Obstacle.CONTACTED,
}


def untouched_since(since: datetime) -> Past:
    """Say that somebody was neither updated nor opened nor contacted since then."""
    return Past(tuple((Before(event, since),) for event in _ACTIVITY))


def obstacles(store: Store, records: Sequence[Sealed], since: datetime) -> list[Obstacle | None]:
    """Tell of each of *records*, contacts of one tenant, what keeps them; *since* is when the list was saved."""
    if not records:
        return []
    tenant, people = records[0].tenant, [record.subject for record in records]
    carried: dict[SubjectKey, Mark] = {}
    for reason in store.reasons(tenant, [*people, EVERYBODY]):
        if reason.subject != EVERYBODY or reason.record is None:
            carried[reason.subject] = carried.get(reason.subject, Mark.NONE) | reason.mark
    everybody = carried.get(EVERYBODY, Mark.NONE)
    happened = store.happened(tenant, people)
    return [
        _obstacle(record, carried.get(record.subject, Mark.NONE) | everybody, events, since)
        for record, events in zip(records, happened, strict=True)
    ]


def _obstacle(record: Sealed, carried: Mark, events: Events, since: datetime) -> Obstacle | None:
    if record.trash is not None:
        return Obstacle.TRASHED
    if carried & Mark.RESTRICTED:
        return Obstacle.RESTRICTED
    if carried & GUARDED:
        return Obstacle.HELD
    happened = events_of(record, events)
    touched = (event for event in _ACTIVITY if not is_past(Past(((Before(event, since),),)), happened))
    return next((_ACTIVITY[event] for event in touched), None)
