"""Contacts of the wire and of the domain, both ways and total."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from datetime import datetime
from typing import Any, Final

import attrs
from google.protobuf.timestamp_pb2 import Timestamp

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.contacts import (
    Contact,
    CustomField,
    Email,
    Organisation,
    Person,
    Phone,
    PostalAddress,
    Website,
    display_name,
)
from capsule_core.errors import CardNumberFound, InvalidField
from capsule_core.intake import refuse_cards
from capsule_core.kept import Kept
from capsule_core.names import micros
from capsule_core.personal import kind_of
from capsule_services.contacts.names import contact_name, parsed_user, user_name
from capsule_services.runtime.etags import etag

__all__ = ["changed_from", "contact_from", "contact_to", "content_to"]

_PERSON: Final[Mapping[str, str]] = {
    "given_name": "given_name",
    "family_name": "family_name",
    "additional_name": "additional_name",
    "prefix": "honorific_prefix",
    "suffix": "honorific_suffix",
    "nickname": "nickname",
    "phonetic_given_name": "phonetic_given_name",
    "phonetic_family_name": "phonetic_family_name",
    "organisation_name": "organisation_name",
    "department": "department",
    "job_title": "job_title",
    "birthday": "birthday",
}
"""What a person's fields are called in the domain, and on the wire."""

_SOURCES: Final = {name.lower(): value for name, value in pb.Contact.Source.items()}
_ADDRESS: Final = ("street", "extended", "po_box", "locality", "region", "postal_code", "country", "label")


def contact_from(message: pb.Contact, *, field: str = "contact") -> Contact:
    """Read a contact without an id; *field* is where the request carries it.

    Raises:
        InvalidField: it is no contact; the path is the wire's (``contact.emails[0].address``).
        CardNumberFound: a text holds a payment card number; likewise.
    """
    party = message.WhichOneof("party")
    if party is None:
        raise InvalidField(f"{field}.person", "is required, or else organisation")
    with _paths_of_wire(field):
        shared: dict[str, Any] = {
            "emails": tuple(Email(m.address, label=m.label, primary=m.primary) for m in message.emails),
            "phones": tuple(Phone(m.number, label=m.label, primary=m.primary) for m in message.phones),
            "addresses": tuple(
                PostalAddress(**{name: getattr(m, name) for name in _ADDRESS}) for m in message.addresses
            ),
            "websites": tuple(Website(m.uri, label=m.label) for m in message.websites),
            "tags": tuple(message.tags),
            "custom": tuple(CustomField(m.key, m.value) for m in message.custom_fields),
            "about": message.about,
        }
    shared["owner"] = parsed_user(message.owner, field=f"{field}.owner")
    with _paths_of_wire(field):
        if party == "organisation":
            contact: Contact = Organisation(id="", name=message.organisation.display_name, **shared)
        else:
            named = {ours: getattr(message.person, theirs) for ours, theirs in _PERSON.items()}
            contact = Person(id="", **named, **shared)
        refuse_cards(kind_of(type(contact)), contact)
        return contact


def changed_from(message: pb.Contact, before: Contact, *, field: str = "contact") -> Contact:
    """Read what an update made of the contact that was kept *before*.

    Raises:
        InvalidField: it is no contact, or a person became an organisation, or the other way round.
    """
    contact = contact_from(message, field=field)
    if type(contact) is not type(before):
        raise InvalidField(f"{field}.{message.WhichOneof('party')}", "is not what the contact is, which never changes")
    return attrs.evolve(contact, id=before.id, source=before.source)


def content_to(contact: Contact) -> pb.Contact:
    """Write what a contact says, without what only the server knows."""
    message = pb.Contact(
        display_name=display_name(contact),
        emails=[pb.Email(address=v.address, label=v.label, primary=v.primary) for v in contact.emails],
        phones=[pb.Phone(number=v.number, label=v.label, primary=v.primary) for v in contact.phones],
        addresses=[pb.PostalAddress(**{name: getattr(v, name) for name in _ADDRESS}) for v in contact.addresses],
        websites=[pb.Website(uri=v.uri, label=v.label) for v in contact.websites],
        tags=contact.tags,
        custom_fields=[pb.CustomField(key=v.key, value=v.value) for v in contact.custom],
        about=contact.about,
    )
    if isinstance(contact, Organisation):
        message.organisation.display_name = contact.name
        message.organisation.SetInParent()
    else:
        message.person.SetInParent()
        for ours, theirs in _PERSON.items():
            if value := getattr(contact, ours):
                setattr(message.person, theirs, value)
    return message


def contact_to(kept: Kept[Contact], *, has_photo: bool = False) -> pb.Contact:
    """Write a contact as it is answered."""
    message = content_to(kept.content)
    message.name = contact_name(kept.tenant, kept.id)
    message.owner = user_name(kept.tenant, kept.content.owner)
    message.source = _SOURCES[kept.content.source]
    message.has_photo = has_photo
    message.state = pb.Contact.ACTIVE if kept.trash is None else pb.Contact.DELETED
    _tell(message.create_time, kept.created)
    _tell(message.update_time, kept.updated)
    if kept.trash is not None:
        _tell(message.delete_time, kept.trash.at)
        _tell(message.purge_time, kept.trash.until)
    message.etag = etag(kept.version, trashed=kept.trash is not None)
    return message


def _tell(message: Timestamp, at: datetime) -> None:
    message.seconds, fraction = divmod(micros(at), 1_000_000)
    message.nanos = fraction * 1000


@contextlib.contextmanager
def _paths_of_wire(field: str) -> Generator[None]:
    try:
        yield
    except InvalidField as error:
        raise InvalidField(f"{field}.{_on_wire(error.field)}", error.problem) from None
    except CardNumberFound as error:
        raise CardNumberFound(f"{field}.{_on_wire(error.field)}") from None


def _on_wire(path: str) -> str:
    name, bracket, rest = path.partition("[")
    if name in _PERSON:
        return f"person.{_PERSON[name]}"
    if name == "name":
        return "organisation.display_name"
    return f"{'custom_fields' if name == 'custom' else name}{bracket}{rest}"
