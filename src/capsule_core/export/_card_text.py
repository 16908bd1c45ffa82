"""One vCard, written: version 4.0 (RFC 6350) or 3.0 (RFC 2426)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

from capsule_core.contacts import display_name_of
from capsule_core.export._content_lines import WIDTH, escaped, folded
from capsule_core.export._labels import types_of_label

__all__ = ["card_of"]


def card_of(record: Mapping[str, Any], *, modern: bool) -> bytes:
    """Write the contact of a plain *record* and its photo as one card, of version 4.0 if *modern*, else of 3.0."""
    contact = record["contact"]
    written = [
        "BEGIN:VCARD",
        f"VERSION:{'4.0' if modern else '3.0'}",
        f"REV:{_basic(record['updated'])}",
        f"FN:{escaped(display_name_of(contact))}",
    ]
    if contact["id"]:
        written.append(f"UID:{escaped(contact['id'])}")
    if record["kind"] == "organisation":
        written += _organisation(contact, modern=modern)
    else:
        written += _person(contact, modern=modern)
    written += _reached(contact, ";PREF=1" if modern else ";TYPE=pref")
    written += _told(contact)
    if record["photo"]:
        written.append(_photo(record["photo"], modern=modern))
    written.append("END:VCARD\r\n")
    return "\r\n".join([line if line.isascii() and len(line) <= WIDTH else folded(line) for line in written]).encode()


def _basic(moment: str) -> str:
    """Write a moment in UTC in the basic format and without its fraction (ISO 8601)."""
    return moment[:19].replace("-", "").replace(":", "") + "Z"


def _organisation(organisation: Mapping[str, Any], *, modern: bool) -> Iterator[str]:
    if modern:
        yield "KIND:org"
    else:
        yield "N:;;;;"
        yield "X-ABShowAs:COMPANY"
    if organisation["name"]:
        yield f"ORG:{escaped(organisation['name'])}"


def _person(person: Mapping[str, Any], *, modern: bool) -> Iterator[str]:
    parts = (person["family_name"], person["given_name"], person["additional_name"], person["prefix"], person["suffix"])
    yield "N:" + ";".join(map(escaped, parts))
    if person["department"]:
        yield f"ORG:{escaped(person['organisation_name'])};{escaped(person['department'])}"
    elif person["organisation_name"]:
        yield f"ORG:{escaped(person['organisation_name'])}"
    for name, text in (
        ("NICKNAME", person["nickname"]),
        ("X-PHONETIC-FIRST-NAME", person["phonetic_given_name"]),
        ("X-PHONETIC-LAST-NAME", person["phonetic_family_name"]),
        ("TITLE", person["job_title"]),
    ):
        if text:
            yield f"{name}:{escaped(text)}"
    if person["birthday"]:
        yield _birthday(person["birthday"], modern=modern)


def _birthday(day: str, *, modern: bool) -> str:
    if day.startswith("-"):  # 3.0 cannot leave the year out; Apple's leap year of 1604 is widely understood
        return f"BDAY:--{day[2:4]}{day[5:]}" if modern else f"BDAY;X-APPLE-OMIT-YEAR=1604:1604{day[1:]}"
    return f"BDAY:{day.replace('-', '')}" if modern else f"BDAY:{day}"


def _reached(contact: Mapping[str, Any], preferred: str) -> Iterator[str]:
    groups = count(1)
    for email in contact["emails"]:
        yield from _labelled("EMAIL", preferred * email["primary"], email["label"], escaped(email["address"]), groups)
    for phone in contact["phones"]:
        yield from _labelled("TEL", preferred * phone["primary"], phone["label"], escaped(phone["number"]), groups)
    for address in contact["addresses"]:
        street = (address["po_box"], address["extended"], address["street"])
        area = (address["locality"], address["region"], address["postal_code"], address["country"])
        if any(street) or any(area):
            yield from _labelled("ADR", "", address["label"], ";".join(map(escaped, street + area)), groups)
    for website in contact["websites"]:
        uri = website["uri"].replace("\\", "\\\\")  # a URI is written as it is; what is not quite one is read back too
        yield from _labelled("URL", "", website["label"], uri, groups)


def _labelled(name: str, parameters: str, label: str, value: str, groups: Iterator[int]) -> Iterable[str]:
    types = types_of_label(name, label)
    if types is None:
        group = f"item{next(groups)}"
        return (f"{group}.{name}{parameters}:{value}", f"{group}.X-ABLabel:{escaped(label)}")
    return (f"{name}{f';TYPE={types}' if types else ''}{parameters}:{value}",)


def _told(contact: Mapping[str, Any]) -> Iterator[str]:
    if contact["tags"]:
        yield "CATEGORIES:" + ",".join(map(escaped, contact["tags"]))
    if contact["about"]:
        yield f"NOTE:{escaped(contact['about'])}"
    for field in contact["custom"]:
        yield f"X-CAPSULE-FIELD:{escaped(field['key'])};{escaped(field['value'])}"


def _photo(photo: Mapping[str, Any], *, modern: bool) -> str:
    if modern:
        return f"PHOTO:data:{photo['media_type']};base64,{photo['data']}"
    return f"PHOTO;ENCODING=b;TYPE={photo['media_type'].removeprefix('image/').upper()}:{photo['data']}"
