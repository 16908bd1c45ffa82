"""Saved lists on the wire and in the domain."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.contacts import ContactList
from capsule_core.errors import CardNumberFound, InvalidField
from capsule_core.intake import refuse_cards
from capsule_core.kept import Kept
from capsule_core.moments import Event, Past
from capsule_core.names import RecordId, TenantId
from capsule_core.personal import kind_of
from capsule_services.contacts.names import contact_name, list_name, user_name
from capsule_services.contacts.obstacles import Obstacle
from capsule_services.runtime.etags import etag

__all__ = ["counted", "list_from", "list_to", "obstacle_to", "skipped_to"]

_STATES: Final = {"filling": pb.ContactList.FILLING, "ready": pb.ContactList.READY}


def list_from(message: pb.ContactList, stale: Past | None) -> ContactList:
    """Read a list without an id, of those who are *stale*.

    Raises:
        InvalidField: nobody is meant, or its name is not one line.
        CardNumberFound: its name holds a payment card number.
    """
    if stale is None:
        raise InvalidField("contact_list.stale", "must say since when nothing has happened")
    since = {each.event: each.at for group in stale.groups for each in group if each.at is not None}
    try:
        wanted = ContactList.of(message.display_name, since)
        refuse_cards(kind_of(ContactList), wanted)
    except InvalidField as error:
        raise InvalidField("contact_list.display_name", error.problem) from None
    except CardNumberFound:
        raise CardNumberFound("contact_list.display_name") from None
    return wanted


def list_to(kept: Kept[ContactList], contacts: int) -> pb.ContactList:
    """Write a list, and how many *contacts* are on it."""
    content, trash = kept.content, kept.trash
    message = pb.ContactList(
        name=list_name(kept.tenant, kept.id),
        display_name=content.name,
        stale=_stale_to(content.since),
        state=pb.ContactList.DELETED if trash else _STATES[content.state],
        contacts=contacts,
        create_time=_moment(kept.created),
        creator=user_name(kept.tenant, content.creator),
        etag=etag(kept.version, trashed=trash is not None),
    )
    if trash is not None:
        message.delete_time.CopyFrom(_moment(trash.at))
        message.purge_time.CopyFrom(_moment(trash.until))
    return message


def obstacle_to(obstacle: Obstacle | None) -> pb.Obstacle.ValueType:
    """Write what keeps somebody."""
    return pb.OBSTACLE_UNSPECIFIED if obstacle is None else pb.Obstacle.Value(obstacle.name)


def skipped_to(tenant: TenantId, skipped: tuple[RecordId, Obstacle]) -> pb.TrashListedContactsResponse.Skipped:
    """Write who was left out and why."""
    contact, obstacle = skipped
    return pb.TrashListedContactsResponse.Skipped(contact=contact_name(tenant, contact), obstacle=obstacle_to(obstacle))


def counted(counts: Mapping[Obstacle, int]) -> list[pb.TrashListedContactsResponse.Count]:
    """Write how many were left out for which reason."""
    return [
        pb.TrashListedContactsResponse.Count(obstacle=obstacle_to(each), contacts=counts[each])
        for each in Obstacle
        if counts.get(each)
    ]


def _stale_to(since: Mapping[Event, datetime]) -> pb.Stale:
    return pb.Stale(**{f"not_{event.value}_since": _moment(at) for event, at in since.items()})


def _moment(at: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(at.astimezone(UTC))
    return message
