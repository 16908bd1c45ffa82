"""When what happened to a person and their records: what every period begins with, and may be asked for.

Some of it a record says itself; the rest is about the person, and is kept beside their key: when they were last opened
or contacted, when the relationship ended, when they withdrew their consent.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import attrs

from capsule_core.names import SubjectKey

__all__ = ["ACTIVITY", "OF_PEOPLE", "Before", "Event", "Events", "Moment", "Past", "began", "is_past"]


class Event(enum.Enum):
    """What a period begins with.

    Who was never opened, contacted or changed counts as having been when they came in; of the others, what has not
    happened begins nothing.
    """

    __hash__ = object.__hash__  # there is one of each, and every decision looks several up

    CREATED = "created"
    UPDATED = "updated"
    OPENED = "opened"
    CONTACTED = "contacted"
    TRASHED = "trashed"
    RESTORED = "restored"
    RELATIONSHIP_ENDED = "relationship_ended"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    TENANT_CLOSED = "tenant_closed"


OF_PEOPLE: Final = (Event.OPENED, Event.CONTACTED, Event.RELATIONSHIP_ENDED, Event.CONSENT_WITHDRAWN)
"""What is kept of a person, and not of each record."""

ACTIVITY: Final = frozenset({Event.UPDATED, Event.OPENED, Event.CONTACTED})
"""What counts as having happened when somebody came in."""

Events = Mapping[Event, datetime]
"""When what happened last; CREATED is always among them."""


@attrs.frozen
class Moment:
    """Something that happened to a person, one of :data:`OF_PEOPLE`; *at* None takes it back."""

    subject: SubjectKey
    event: Event
    at: datetime | None


@attrs.frozen
class Before:
    """That a period beginning with *event* began at *at* or earlier (None: whenever it began, that is too late).

    *or_never* lets pass also what never began. If it *restarts*, it begins anew when something is taken back from the
    trash.
    """

    event: Event
    at: datetime | None
    or_never: bool = False
    restarts: bool = False


@attrs.frozen
class Past:
    """A condition on when things happened: of each group, one member holds."""

    groups: tuple[tuple[Before, ...], ...]


def began(events: Events, event: Event, *, restarts: bool = False) -> datetime | None:
    """Tell when a period that begins with *event* began; None if it has not.

    One that *restarts* begins anew when something is taken back from the trash.
    """
    happened = events.get(event)
    if event in ACTIVITY:
        came = events[Event.CREATED]
        happened = came if happened is None else max(came, happened)
    restored = events.get(Event.RESTORED) if restarts else None
    return happened if happened is None or restored is None else max(happened, restored)


def is_past(past: Past, events: Events) -> bool:
    """Tell whether the condition holds of *events*; what every store's selection is compared to."""
    return all(any(_holds(each, events) for each in group) for group in past.groups)


def _holds(condition: Before, events: Events) -> bool:
    start = began(events, condition.event, restarts=condition.restarts)
    if start is None:
        return condition.or_never
    return condition.at is not None and start <= condition.at
