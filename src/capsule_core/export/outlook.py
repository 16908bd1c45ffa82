"""Read what Outlook exports to CSV: the classic desktop program (Windows-1252 or UTF-8) and Outlook.com, in English.

* Columns go to the fields of their names; ``Company`` to the organisation, ``Notes`` to *about*.
* A row with a company and nobody in it becomes an organisation.
* Business, home and other phones, faxes and addresses, up to three e-mails: lists, labelled ``work``, ``home``, ...;
  further lines of a street belong to the street. An address of an Exchange directory (type EX) is no e-mail address
  and is passed over.
* ``Categories`` become tags. Dates are written month/day/year, 0/0/00 where there is none.
* Anniversary, spouse, manager, assistant, hobby and the like become fields of the tenant's own. Columns that Outlook
  fills for itself (priority, sensitivity, display names, mileage, ...) are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from capsule_core.contacts import CustomField, Email, Phone, PostalAddress, Website
from capsule_core.errors import InvalidField
from capsule_core.export import Refused, Row
from capsule_core.export._admission import admitted
from capsule_core.export._table import Table, opened

__all__ = ["read"]

_REQUIRED: Final = ("First Name", "Last Name", "Company", "E-mail Address")
_FIELDS: Final[Mapping[str, str]] = {
    "given_name": "First Name",
    "additional_name": "Middle Name",
    "family_name": "Last Name",
    "prefix": "Title",
    "suffix": "Suffix",
    "nickname": "Nickname",
    "phonetic_given_name": "Given Yomi",
    "phonetic_family_name": "Surname Yomi",
    "organisation_name": "Company",
    "department": "Department",
    "job_title": "Job Title",
    "birthday": "Birthday",
    "about": "Notes",
}
_OF_ORGANISATIONS_TOO: Final = {"organisation_name", "about"}
_PHONES: Final[Mapping[str, str]] = {
    "Primary Phone": "primary",
    "Mobile Phone": "mobile",
    "Business Phone": "work",
    "Business Phone 2": "work",
    "Home Phone": "home",
    "Home Phone 2": "home",
    "Other Phone": "other",
    "Company Main Phone": "main",
    "Assistant's Phone": "assistant",
    "Car Phone": "car",
    "Callback": "callback",
    "Radio Phone": "radio",
    "Pager": "pager",
    "Business Fax": "work fax",
    "Home Fax": "home fax",
    "Other Fax": "other fax",
    "ISDN": "ISDN",
    "TTY/TDD Phone": "TTY/TDD",
    "Telex": "telex",
}
_EMAILS: Final = ("E-mail", "E-mail 2", "E-mail 3")
_WEBSITES: Final[Mapping[str, str]] = {"Web Page": "", "Business Home Page": "work", "Personal Web Page": "home"}
_PLACES: Final[Mapping[str, str]] = {"Business": "work", "Home": "home", "Other": "other"}
_OWN: Final = (
    *("Spouse", "Children", "Manager's Name", "Assistant's Name", "Profession", "Hobby", "Referred By", "Schools"),
    *("Office Location", "Location", "IMAddress", "Account", "User 1", "User 2", "User 3", "User 4"),
)
_ANNIVERSARY: Final = "Anniversary"
_US_DATE = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})")
_NO_DATE = re.compile(r"0+/0+/0+")


def read(chunks: Iterable[bytes], *, new_id: Callable[[int], str]) -> Iterator[Row | Refused]:
    """Read contacts, row by row; *new_id* makes the id of the one in row n, counted from 1 below the header.

    Raises:
        InvalidField: the file is not of this layout, or cannot be read on; the rows before were yielded.
    """
    table = opened(chunks, windows_1252=True)
    layout = _layout(table)
    for found in table.rows:
        if isinstance(found, Refused):
            yield found
        else:
            number, cells = found
            yield admitted(
                number, new_id(number), _fields(layout, [*cells, ""])
            )  # column -1, which is missing, is empty


@attrs.frozen
class _Place:
    """The columns of one address; *street* has up to three."""

    label: str
    street: Sequence[int]
    parts: Sequence[int]


@attrs.frozen(kw_only=True)
class _Layout:
    fields: Sequence[tuple[str, int]]
    emails: Sequence[tuple[int, int]]
    phones: Sequence[tuple[str, int]]
    websites: Sequence[tuple[str, int]]
    addresses: Sequence[_Place]
    tags: int
    anniversary: int
    own: Sequence[tuple[str, int]]


def _layout(table: Table) -> _Layout:
    if missing := table.missing(_REQUIRED):
        names = ", ".join(f'"{name}"' for name in missing)
        raise InvalidField("file", f"is not a CSV export of Outlook: columns it should have are missing: {names}")
    return _Layout(
        fields=[(field, at) for field, name in _FIELDS.items() if (at := table.column(name)) >= 0],
        emails=[(table.column(f"{name} Address"), table.column(f"{name} Type")) for name in _EMAILS],
        phones=[(label, at) for name, label in _PHONES.items() if (at := table.column(name)) >= 0],
        websites=[(label, at) for name, label in _WEBSITES.items() if (at := table.column(name)) >= 0],
        addresses=[_place(table, name, label) for name, label in _PLACES.items()],
        tags=table.column("Categories"),
        anniversary=table.column(_ANNIVERSARY),
        own=[(name, at) for name in _OWN if (at := table.column(name)) >= 0],
    )


_PARTS: Final[Mapping[str, Sequence[str]]] = {
    "po_box": ("Address PO Box",),
    "locality": ("City",),
    "region": ("State",),
    "postal_code": ("Postal Code",),
    "country": ("Country/Region", "Country"),
}


def _place(table: Table, name: str, label: str) -> _Place:
    return _Place(
        label,
        [table.column(f"{name} {part}") for part in ("Street", "Street 2", "Street 3")],
        [table.column(*(f"{name} {part}" for part in parts)) for parts in _PARTS.values()],
    )


def _fields(layout: _Layout, cells: Sequence[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {name: text for name, at in layout.fields if (text := cells[at].strip())}
    if born := fields.pop("birthday", ""):
        fields |= {"birthday": day} if (day := _day(born)) else {}
    if "organisation_name" in fields and fields.keys() <= _OF_ORGANISATIONS_TOO:
        fields["name"] = fields.pop("organisation_name")
    lists: dict[str, Iterable[Any]] = {
        "emails": [Email(text) for text in _addresses_of_mail(cells, layout.emails)],
        "phones": [Phone(text, label=label) for label, text in _filled(cells, layout.phones)],
        "websites": [Website(text, label=label) for label, text in _filled(cells, layout.websites)],
        "addresses": list(_addresses(cells, layout.addresses)),
        "tags": dict.fromkeys(filter(None, map(str.strip, cells[layout.tags].split(";")))),
        "custom": list(_own(cells, layout)),
    }
    return fields | {name: tuple(found) for name, found in lists.items() if found}


def _filled(cells: Sequence[str], columns: Iterable[tuple[str, int]]) -> Iterator[tuple[str, str]]:
    return ((label, text) for label, at in columns if cells[at] and (text := cells[at].strip()))


def _addresses_of_mail(cells: Sequence[str], columns: Iterable[tuple[int, int]]) -> Iterator[str]:
    return (text for at, kind in columns if (text := cells[at].strip()) and cells[kind] != "EX")


def _addresses(cells: Sequence[str], places: Iterable[_Place]) -> Iterator[PostalAddress]:
    for place in places:
        street = "\n".join(filter(None, (cells[at].strip() for at in place.street)))
        parts = {part: cells[at].strip() for part, at in zip(_PARTS, place.parts, strict=True)}
        if street or any(parts.values()):
            yield PostalAddress(street=street, label=place.label, **parts)


def _own(cells: Sequence[str], layout: _Layout) -> Iterator[CustomField]:
    if day := _day(cells[layout.anniversary].strip()):
        yield CustomField(_ANNIVERSARY, day)
    for name, text in _filled(cells, layout.own):
        yield CustomField(name, text)


def _day(text: str) -> str:
    """Write a date as ISO 8601 does; what is no date is left as it is, and is judged by whoever takes it."""
    if _NO_DATE.fullmatch(text):
        return ""
    found = _US_DATE.fullmatch(text)
    return f"{found[3]}-{int(found[1]):02}-{int(found[2]):02}" if found else text
