"""People and organisations, as an address book knows them.

A contact is checked when it is made; its parts are checked with it, so that the path of a refused field is exact
(``emails[2].address``).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeAlias

import attrs

from capsule_core.contacts._checks import check, email, filled, lines, month_day
from capsule_core.errors import InvalidField
from capsule_core.personal import Category, Exact, Form, Personal, Plain, Words, kind

__all__ = [
    "PURPOSE",
    "Contact",
    "CustomField",
    "Email",
    "Organisation",
    "Person",
    "Phone",
    "PostalAddress",
    "Website",
    "display_name",
    "display_name_of",
]

PURPOSE: Final = "keeping in touch"
"""What contacts and their history are kept for."""


@attrs.frozen(kw_only=True)
class Email:
    """One e-mail address; *label* is what the user calls it (``work``)."""

    address: Annotated[str, email] = attrs.field(kw_only=False)
    label: str = ""
    primary: bool = False


@attrs.frozen(kw_only=True)
class Phone:
    """One phone number, as it was typed."""

    number: Annotated[str, filled] = attrs.field(kw_only=False)
    label: str = ""
    primary: bool = False


@attrs.frozen(kw_only=True)
class PostalAddress:
    """One postal address, in the parts of RFC 6350 section 6.3.1."""

    street: Annotated[str, lines] = ""
    extended: Annotated[str, lines] = ""
    po_box: str = ""
    locality: str = ""
    region: str = ""
    postal_code: str = ""
    country: str = ""
    label: str = ""


@attrs.frozen(kw_only=True)
class Website:
    """One address on the web."""

    uri: Annotated[str, filled] = attrs.field(kw_only=False)
    label: str = ""


@attrs.frozen
class CustomField:
    """A field of the tenant's own."""

    key: Annotated[str, filled]
    value: Annotated[str, lines] = ""


# What a field is, what it is for and how it is found; a rule beside it says what it may hold, if not any one line.
_Name: TypeAlias = Annotated[str, Personal(Category.IDENTITY, purpose=PURPOSE, search=Words())]
_Title: TypeAlias = Annotated[str, Personal(Category.IDENTITY, purpose=PURPOSE)]
_Day: TypeAlias = Annotated[str, Personal(Category.IDENTITY, purpose=PURPOSE), month_day]
_Employer: TypeAlias = Annotated[str, Personal(Category.EMPLOYMENT, purpose=PURPOSE, search=Words())]
_Post: TypeAlias = Annotated[str, Personal(Category.EMPLOYMENT, purpose=PURPOSE)]
_ByEmail: Final = Personal(Category.CONTACT, purpose=PURPOSE, search=Exact(Form.EMAIL, of="address"))
_ByPhone: Final = Personal(Category.CONTACT, purpose=PURPOSE, search=Exact(Form.PHONE, of="number"))
_ByTag: Final = Personal(Category.PREFERENCE, purpose=PURPOSE, search=Exact(), provided=False)
_Emails: TypeAlias = Annotated[tuple[Email, ...], _ByEmail]
_Phones: TypeAlias = Annotated[tuple[Phone, ...], _ByPhone]
_Addresses: TypeAlias = Annotated[tuple[PostalAddress, ...], Personal(Category.LOCATION, purpose=PURPOSE)]
_Websites: TypeAlias = Annotated[tuple[Website, ...], Personal(Category.CONTACT, purpose=PURPOSE)]
_Tags: TypeAlias = Annotated[tuple[Annotated[str, filled], ...], _ByTag]
_Custom: TypeAlias = Annotated[tuple[CustomField, ...], Personal(Category.OTHER, purpose=PURPOSE)]
_About: TypeAlias = Annotated[str, Personal(Category.OTHER, purpose=PURPOSE, provided=False), lines]
_Owner: TypeAlias = Annotated[str, Plain("the user who looks after it", search=Exact())]
_Source: TypeAlias = Annotated[str, Plain("where the record came from")]


@kind("person", subject="id", server_ids=True)
@attrs.frozen(kw_only=True)
class Person:
    """A person whom a tenant keeps; *id* is empty until the server has made one.

    Raises:
        InvalidField: a field does not hold what it may, or nothing says who it is.
    """

    id: str
    given_name: _Name = ""
    family_name: _Name = ""
    additional_name: _Name = ""
    prefix: _Title = ""
    suffix: _Title = ""
    nickname: _Name = ""
    phonetic_given_name: _Name = ""
    phonetic_family_name: _Name = ""
    organisation_name: _Employer = ""
    department: _Post = ""
    job_title: _Post = ""
    birthday: _Day = ""
    emails: _Emails = ()
    phones: _Phones = ()
    addresses: _Addresses = ()
    websites: _Websites = ()
    tags: _Tags = ()
    custom: _Custom = ()
    about: _About = ""
    owner: _Owner = ""
    source: _Source = "user"

    def __attrs_post_init__(self) -> None:
        check(self)
        _require_name(self)


@kind("organisation", subject="id", server_ids=True)
@attrs.frozen(kw_only=True)
class Organisation:
    """An organisation whom a tenant keeps, a subject like a person; made and refused as a :class:`Person` is."""

    id: str
    name: _Name = ""
    emails: _Emails = ()
    phones: _Phones = ()
    addresses: _Addresses = ()
    websites: _Websites = ()
    tags: _Tags = ()
    custom: _Custom = ()
    about: _About = ""
    owner: _Owner = ""
    source: _Source = "user"

    def __attrs_post_init__(self) -> None:
        check(self)
        _require_name(self)


Contact: TypeAlias = Person | Organisation
"""Whoever may be kept in an address book."""


def display_name(contact: Contact) -> str:
    """Return what to call *contact*: the name, or else the first thing that it can be told by; never empty.

    Names in Chinese, Japanese or Korean letters are written family name first.
    """
    reached = [*(email.address for email in contact.emails), *(phone.number for phone in contact.phones)]
    if isinstance(contact, Organisation):
        return _first(contact.name, *reached)
    parts = (contact.prefix, contact.given_name, contact.additional_name, contact.family_name, contact.suffix)
    return _first(_personal_name(*parts), contact.nickname.strip() or contact.organisation_name, *reached)


def display_name_of(fields: Mapping[str, Any]) -> str:
    """Return the display name of a contact that is taken apart into *fields*."""
    reached = [*(email["address"] for email in fields["emails"]), *(phone["number"] for phone in fields["phones"])]
    if "name" in fields:
        return _first(fields["name"], *reached)
    parts = map(fields.__getitem__, ("prefix", "given_name", "additional_name", "family_name", "suffix"))
    return _first(_personal_name(*parts), fields["nickname"].strip() or fields["organisation_name"], *reached)


def _first(*texts: str) -> str:
    return next((text.strip() for text in texts if text.strip()), "")


def _personal_name(prefix: str, given: str, additional: str, family: str, suffix: str) -> str:
    given, family = given.strip(), family.strip()
    if given and family and _is_east_asian(given) and _is_east_asian(family):
        return family + given
    named = given or family or additional.strip()
    parts = (prefix, given, additional, family, suffix)
    return " ".join(part.strip() for part in parts if part.strip()) if named else ""


def _is_east_asian(name: str) -> bool:
    return not name.isascii() and all(unicodedata.east_asian_width(sign) == "W" for sign in name)


def _require_name(contact: Contact) -> None:
    named = contact.name if isinstance(contact, Organisation) else contact.given_name or contact.family_name
    if not named.strip() and not display_name(contact):
        raise InvalidField("display_name", "would be empty: give a name, an e-mail address, a phone or an organisation")
