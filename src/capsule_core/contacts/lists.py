"""Saved lists of contacts: a name and who was meant, and of each contact on it a record of the contact's own.

So a list needs no care when somebody is erased: that they were on it is sealed under their key, and goes with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final

import attrs

from capsule_core.contacts._checks import check, filled, one_of
from capsule_core.moments import Before, Event, Past
from capsule_core.names import RecordId
from capsule_core.personal import Category, Personal, Plain, kind
from capsule_core.protection import EVERYBODY

__all__ = ["ContactList", "Listed", "listed_id"]

_PURPOSE: Final = "finding who is not needed any more"
_TIMES: Final[Mapping[Event, str]] = {
    Event.UPDATED: "not_updated_since",
    Event.OPENED: "not_opened_since",
    Event.CONTACTED: "not_contacted_since",
}


@kind("contact_list", subject="about", server_ids=True, governed=False)
@attrs.frozen(kw_only=True)
class ContactList:
    """A list: what it is called, and to whom nothing had happened since when; times are RFC 3339, empty if not said.

    It is filled from the newest contact to the oldest; *reached* is the time of the last that was looked at.

    Raises:
        InvalidField: the name is empty, or not one line.
    """

    id: str
    about: str = EVERYBODY
    name: Annotated[str, Personal(Category.OTHER, purpose=_PURPOSE, provided=False), filled]
    not_updated_since: Annotated[str, Plain("who is meant")] = ""
    not_opened_since: Annotated[str, Plain("who is meant")] = ""
    not_contacted_since: Annotated[str, Plain("who is meant")] = ""
    creator: Annotated[str, Plain("the user who saved it")] = ""
    reached: Annotated[str, Plain("how far it is filled")] = ""
    state: Annotated[str, Plain("whether everybody is on it who was meant"), one_of("filling", "ready")] = "filling"

    def __attrs_post_init__(self) -> None:
        check(self)

    @classmethod
    def of(cls, name: str, since: Mapping[Event, datetime]) -> ContactList:
        """Make a list without an id of those to whom nothing of this has happened since."""
        return cls(id="", name=name, **{_TIMES[event]: at.isoformat() for event, at in since.items()})

    @property
    def since(self) -> Mapping[Event, datetime]:
        """Since when what must not have happened to those who are meant."""
        said = {event: getattr(self, name) for event, name in _TIMES.items()}
        return {event: datetime.fromisoformat(text) for event, text in said.items() if text}

    @property
    def stale(self) -> Past:
        """Who is meant."""
        return Past(tuple((Before(event, at),) for event, at in self.since.items()))


@kind("listed", subject="contact", server_ids=True, governed=False)
@attrs.frozen(kw_only=True)
class Listed:
    """That a *contact* is on a list; it hangs on the list, and is the contact's own."""

    id: str
    contact: str
    list: Annotated[str, Plain("the list they are on")]


def listed_id(contact_list: RecordId, contact: str) -> RecordId:
    """Name the record that says that a contact is on a list: in the order of the contacts, and one at most."""
    return RecordId(f"{contact_list}.{contact}")
