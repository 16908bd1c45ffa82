"""Read what Google Contacts exports as "Google CSV": today's layout, and the one before 2024.

* Names, phonetic names, organisation, title, department, birthday: their fields. ``Notes`` become *about*.
* A row that names an organisation and nobody in it becomes an organisation.
* E-mails, phones, addresses and websites, however many: lists; a star before a label means *primary*; values of one
  label that share a cell (``a ::: b``) come apart.
* ``Labels`` become tags; ``* myContacts``, which every contact has, does not.
* An address of which only ``Formatted`` is filled is kept as the street.
* Custom fields, relations, events, messengers and further organisations become fields of the tenant's own.
* ``Photo`` is a link into somebody else's account, ``File As`` is made of the rest: both are passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from typing import Any, Final

import attrs

from capsule_core.contacts import CustomField, Email, Phone, PostalAddress, Website
from capsule_core.errors import InvalidField
from capsule_core.export import Refused, Row
from capsule_core.export._admission import admitted
from capsule_core.export._labels import plain_label
from capsule_core.export._table import Table, opened

__all__ = ["read"]

_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "given_name": ("First Name", "Given Name"),
    "additional_name": ("Middle Name", "Additional Name"),
    "family_name": ("Last Name", "Family Name"),
    "phonetic_given_name": ("Phonetic First Name", "Given Name Yomi"),
    "phonetic_family_name": ("Phonetic Last Name", "Family Name Yomi"),
    "prefix": ("Name Prefix",),
    "suffix": ("Name Suffix",),
    "nickname": ("Nickname",),
    "organisation_name": ("Organization Name", "Organization 1 - Name"),
    "job_title": ("Organization Title", "Organization 1 - Title"),
    "department": ("Organization Department", "Organization 1 - Department"),
    "birthday": ("Birthday",),
    "about": ("Notes",),
}
_OF_ORGANISATIONS_TOO: Final = {"organisation_name", "about"}
_ADDRESS: Final = {
    "street": "Street",
    "extended": "Extended Address",
    "po_box": "PO Box",
    "locality": "City",
    "region": "Region",
    "postal_code": "Postal Code",
    "country": "Country",
}
_LAYOUTS: Final = (
    ("First Name", "Last Name", "Organization Name", "Labels"),
    ("Given Name", "Family Name", "Group Membership"),
)
_OWN: Final = ("Relation", "Event", "Custom Field", "IM")
_OWN_ALONE: Final = ("Maiden Name", "Occupation", "Hobby", "Location")
_SEVERAL: Final = ":::"
_EVERYBODY: Final = ("myContacts", "My Contacts")


def read(chunks: Iterable[bytes], *, new_id: Callable[[int], str]) -> Iterator[Row | Refused]:
    """Read contacts, row by row; *new_id* makes the id of the one in row n, counted from 1 below the header.

    Raises:
        InvalidField: the file is not of this layout, or cannot be read on; the rows before were yielded.
    """
    table = opened(chunks)
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
class _Pair:
    """Two columns: what a thing is called, and the thing; *key* stands for a label that is not given."""

    label: int
    value: int
    key: str = ""


@attrs.frozen
class _Place:
    label: int
    formatted: int
    parts: Sequence[int]


@attrs.frozen(kw_only=True)
class _Layout:
    fields: Sequence[tuple[str, int]]
    full_name: int
    labels: int
    emails: Sequence[_Pair]
    phones: Sequence[_Pair]
    websites: Sequence[_Pair]
    addresses: Sequence[_Place]
    own: Sequence[_Pair]


def _layout(table: Table) -> _Layout:
    missing = min(map(table.missing, _LAYOUTS), key=len)
    if missing:
        names = ", ".join(f'"{name}"' for name in missing)
        raise InvalidField(
            "file", f"is not a CSV export of Google Contacts: columns it should have are missing: {names}"
        )
    return _Layout(
        fields=[(field, at) for field, names in _FIELDS.items() if (at := table.column(*names)) >= 0],
        full_name=table.column("Name"),
        labels=table.column("Labels", "Group Membership"),
        emails=_pairs(table, "E-mail"),
        phones=_pairs(table, "Phone"),
        websites=_pairs(table, "Website"),
        addresses=[
            _Place(
                table.column(start + "Label", start + "Type"),
                table.column(start + "Formatted"),
                [table.column(start + part) for part in _ADDRESS.values()],
            )
            for start in table.numbered("Address", "Formatted", "Street")
        ],
        own=[
            *(pair for kind in _OWN for pair in _pairs(table, kind)),
            *(_Pair(-1, at, name) for name in _OWN_ALONE if (at := table.column(name)) >= 0),
            *(_Pair(-1, table.column(start + "Name"), "Organization") for start in _others(table)),
        ],
    )


def _others(table: Table) -> Iterable[str]:
    return islice(table.numbered("Organization", "Name"), 1, None)


def _pairs(table: Table, kind: str) -> list[_Pair]:
    return [
        _Pair(table.column(start + "Label", start + "Service", start + "Type"), table.column(start + "Value"), kind)
        for start in table.numbered(kind, "Value")
    ]


def _fields(layout: _Layout, cells: Sequence[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {name: text for name, at in layout.fields if (text := cells[at].strip())}
    if fields.keys() <= _OF_ORGANISATIONS_TOO:
        full_name, employer = cells[layout.full_name].strip(), fields.pop("organisation_name", "")
        if employer and full_name in ("", employer):
            fields["name"] = employer
        elif full_name:
            fields |= {"given_name": full_name, "organisation_name": employer}
    lists: dict[str, Iterable[Any]] = {
        "emails": [Email(text, label=label, primary=first) for text, label, first in _values(cells, layout.emails)],
        "phones": [Phone(text, label=label, primary=first) for text, label, first in _values(cells, layout.phones)],
        "websites": [Website(text, label=label) for text, label, _ in _values(cells, layout.websites)],
        "addresses": list(_addresses(cells, layout.addresses)),
        "tags": _tags(cells[layout.labels]),
        "custom": list(_own(cells, layout.own)),
    }
    return fields | {name: tuple(found) for name, found in lists.items() if found}


def _values(cells: Sequence[str], pairs: Iterable[_Pair]) -> Iterator[tuple[str, str, bool]]:
    for pair in pairs:
        if shared := cells[pair.value]:
            written = cells[pair.label].strip()
            label, primary = plain_label(written.lstrip("* ")), written.startswith("*")
            for text in _apart(shared):
                yield text, label, primary
                primary = False


def _apart(shared: str) -> Iterable[str]:
    if _SEVERAL not in shared:
        return (text,) if (text := shared.strip()) else ()
    return filter(None, map(str.strip, shared.split(_SEVERAL)))


def _addresses(cells: Sequence[str], places: Iterable[_Place]) -> Iterator[PostalAddress]:
    for place in places:
        shared = [cells[at] for at in place.parts]
        if not any(shared) and not cells[place.formatted]:
            continue
        label = plain_label(cells[place.label].strip().lstrip("* "))
        if any(shared):
            for parts in zip_longest(*(text.split(_SEVERAL) for text in shared), fillvalue=""):
                yield PostalAddress(**dict(zip(_ADDRESS, map(str.strip, parts), strict=True)), label=label)
        else:
            for formatted in _apart(cells[place.formatted]):
                yield PostalAddress(street=formatted, label=label)


def _tags(labels: str) -> Iterable[str]:
    named = (label.strip().removeprefix("* ") for label in labels.split(_SEVERAL))
    return dict.fromkeys(name for name in named if name and name not in _EVERYBODY)


def _own(cells: Sequence[str], pairs: Iterable[_Pair]) -> Iterator[CustomField]:
    for pair in pairs:
        if cells[pair.value] and (text := cells[pair.value].strip()):
            yield CustomField(cells[pair.label].strip().lstrip("* ") or pair.key, text)
