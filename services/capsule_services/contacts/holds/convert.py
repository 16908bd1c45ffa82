"""Holds on the wire and in the domain, both ways and total."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.errors import CardNumberFound, InvalidField
from capsule_core.holds import Ground, Hold
from capsule_core.intake import refuse_cards
from capsule_core.kept import Kept
from capsule_core.names import TenantId
from capsule_core.personal import kind_of
from capsule_services.contacts.names import Target, hold_name, parsed_target, target_name, user_name
from capsule_services.contacts.presence import photo_id

__all__ = ["hold_from", "hold_to", "resource_of"]

_FIELDS: Final = {
    "content": "data",
    "custom_fields": "custom",
    "display_name": "name",
    "honorific_prefix": "prefix",
    "honorific_suffix": "suffix",
}
"""The fields that the wire calls otherwise."""

_ON_WIRE: Final = {ours: theirs for theirs, ours in _FIELDS.items()}


def hold_from(message: pb.Hold) -> Hold:
    """Read a hold that is to be placed, as yet without id, time and placer.

    Raises:
        InvalidField: it is none; the path is the wire's.
        CardNumberFound: a text holds a payment card number; likewise.
    """
    target = parsed_target(message.target, field="hold.target")
    try:
        hold = Hold(
            id="",
            subject=target.contact,
            record=_record(target, message.field),
            field=_field(message.field),
            ground=_ground(message),
            authority=message.authority,
            reason=message.reason,
            placed_at="",
            placed_by="",
        )
        refuse_cards(kind_of(Hold), hold)
    except InvalidField as error:
        raise InvalidField(f"hold.{error.field}", error.problem) from None
    except CardNumberFound as error:
        raise CardNumberFound(f"hold.{error.field}") from None
    return hold


def hold_to(kept: Kept[Hold]) -> pb.Hold:
    """Write a hold as it is answered."""
    hold = kept.content
    message = pb.Hold(
        name=hold_name(kept.tenant, kept.id),
        target=target_name(kept.tenant, _target(hold)),
        field=_ON_WIRE.get(hold.field, hold.field),
        ground=pb.Hold.Ground.Value(hold.ground.value.upper()),
        authority=hold.authority,
        reason=hold.reason,
        state=pb.Hold.RELEASED if hold.released_at else pb.Hold.STANDING,
        place_time=_moment(hold.placed_at),
        placer=_user(kept.tenant, hold.placed_by),
        releaser=_user(kept.tenant, hold.released_by),
    )
    if hold.released_at:
        message.release_time.CopyFrom(_moment(hold.released_at))
    return message


def resource_of(message: pb.Hold) -> str:
    """Say what a hold is to cover, as an error calls it."""
    target = parsed_target(message.target, field="hold.target")
    return "entry" if target.entry else "photo" if target.photo else "contact"


def _record(target: Target, field: str) -> str:
    """Return the one record that is covered; a field of a contact is one of the contact's own."""
    if target.photo:
        return photo_id(target.contact)
    return target.entry or (target.contact if field else "")


def _field(name: str) -> str:
    if name in _ON_WIRE:
        raise InvalidField("field", f"must be {_ON_WIRE[name]}, as the message calls it")
    return _FIELDS.get(name, name)


def _ground(message: pb.Hold) -> Ground:
    if not message.ground:
        raise InvalidField("ground", "is required")
    return Ground(pb.Hold.Ground.Name(message.ground).lower())


def _target(hold: Hold) -> Target:
    if hold.record in {"", hold.subject}:
        return Target(hold.subject)
    if hold.record == photo_id(hold.subject):
        return Target(hold.subject, photo=True)
    return Target(hold.subject, hold.record)


def _user(tenant: TenantId, actor: str) -> str:
    kind, _, name = actor.partition("/")
    return user_name(tenant, name) if kind == "user" else ""


def _moment(text: str) -> Timestamp:
    moment = Timestamp()
    moment.FromDatetime(datetime.fromisoformat(text).astimezone(UTC))
    return moment
