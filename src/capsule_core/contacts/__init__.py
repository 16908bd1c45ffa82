"""The content of an address book: people, organisations, and what happened with them."""

from __future__ import annotations

from capsule_core.contacts.history import CHANNELS, DIRECTIONS, MEDIA_TYPES, Entry, Photo
from capsule_core.contacts.lists import ContactList, Listed, listed_id
from capsule_core.contacts.party import (
    PURPOSE,
    Contact,
    CustomField,
    Email,
    Organisation,
    Person,
    Phone,
    PostalAddress,
    Website,
    display_name,
    display_name_of,
)

__all__ = [
    "CHANNELS",
    "DIRECTIONS",
    "MEDIA_TYPES",
    "PURPOSE",
    "Contact",
    "ContactList",
    "CustomField",
    "Email",
    "Entry",
    "Listed",
    "Organisation",
    "Person",
    "Phone",
    "Photo",
    "PostalAddress",
    "Website",
    "display_name",
    "display_name_of",
    "listed_id",
]
