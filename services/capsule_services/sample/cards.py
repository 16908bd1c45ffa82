"""Address books as telephones and programs export them to vCard 2.1, 3.0 (RFC 2426) and 4.0 (RFC 6350)."""

from __future__ import annotations

import base64
import datetime
import uuid
from collections.abc import Iterable, Sequence
from typing import Final

from capsule_services.sample.people import Address, Person
from capsule_services.sample.pictures import Colour, jpeg, png

__all__ = ["apple_card", "google_card", "modern_card", "old_phone_card"]

_WIDTH: Final = 75
_FIRST_REVISION: Final = datetime.datetime(2024, 5, 1, 8, tzinfo=datetime.UTC)


def _folded(line: str) -> bytes:
    """Fold *line* at 75 octets, never inside a character (RFC 6350 section 3.2)."""
    rows, row = [], b""
    for character in line:
        octets = character.encode()
        if len(row) + len(octets) > _WIDTH:
            rows.append(row)
            row = b" "
        row += octets
    return b"\r\n".join((*rows, row)) + b"\r\n"


def _card(lines: Iterable[str]) -> bytes:
    return b"".join(_folded(line) for line in ("BEGIN:VCARD", *lines, "END:VCARD"))


def _text(value: str) -> str:
    for plain, escaped in (("\\", "\\\\"), (",", "\\,"), (";", "\\;"), ("\n", "\\n")):
        value = value.replace(plain, escaped)
    return value


def _structured(*parts: str) -> str:
    return ";".join(_text(part) for part in parts)


def _listed(values: Sequence[str]) -> str:
    return ",".join(_text(value) for value in values)


def _place(address: Address) -> tuple[str, ...]:
    city, _, region = address.city.partition(", ")
    return ("", "", address.street, city, region, address.code, address.country_name)


def _colour(number: int) -> Colour:
    return (number * 37 % 256, number * 91 % 256, number * 53 % 256)


def _only(*lines: tuple[object, str]) -> Iterable[str]:
    """Keep the lines whose condition holds something."""
    return (line for condition, line in lines if condition)


def apple_card(one: Person, number: int) -> bytes:
    """Write the card as an iPhone does: grouped properties with labels of their own, lower-case types."""
    date = one.birthday
    born = (
        ""
        if date is None
        else f";X-APPLE-OMIT-YEAR=1604:{date:1604-%m-%d}"
        if number % 4 == 0
        else f";value=date:{date}"
    )
    picture = base64.b64encode(jpeg(_colour(number))).decode()
    return _card(
        (
            "VERSION:3.0",
            "PRODID:-//Apple Inc.//iPhone OS 17.4//EN",
            f"N:{_structured(one.family, one.given, one.middle, one.prefix, '')}",
            f"FN:{_text(one.full_name)}",
            *_only(
                (one.nickname, f"NICKNAME:{_text(one.nickname)}"),
                (one.roman[0] not in {"", one.given}, f"X-PHONETIC-FIRST-NAME:{_text(one.roman[0])}"),
                (one.roman[1] not in {"", one.family}, f"X-PHONETIC-LAST-NAME:{_text(one.roman[1])}"),
                (one.organisation, f"ORG:{_structured(one.organisation, one.department)}"),
                (one.title, f"TITLE:{_text(one.title)}"),
            ),
            *_apple_ways(one),
            *_only(
                (one.note, f"NOTE:{_text(one.note)}"),
                (born, f"BDAY{born}"),
                (one.tags, f"CATEGORIES:{_listed(one.tags)}"),
                (number % 5 == 0, f"PHOTO;ENCODING=b;TYPE=JPEG:{picture}"),
                (not one.given and one.organisation, "X-ABShowAs:COMPANY"),
            ),
        )
    )


def _apple_ways(one: Person) -> Iterable[str]:
    types = {"Mobile": "CELL;type=VOICE", "Home": "HOME;type=VOICE", "Work": "WORK;type=VOICE"}
    for place, email in enumerate(one.emails):
        if place < 2:
            yield f"EMAIL;type=INTERNET;type={('HOME;type=pref', 'WORK')[place]}:{email}"
        else:
            yield from (f"item1.EMAIL;type=INTERNET:{email}", "item1.X-ABLabel:_$!<Other>!$_")
    for place, phone in enumerate(one.phones):
        yield f"TEL;type={types[phone.label]}{';type=pref' if place == 0 else ''}:{_text(phone.text)}"
    for place, address in enumerate(one.addresses, start=2):
        yield f"item{place}.ADR;type={address.label.upper()}:{_structured(*_place(address))}"
        yield f"item{place}.X-ABADR:{address.country.lower()}"
    if one.website:
        yield from (f"item4.URL;type=pref:{one.website}", "item4.X-ABLabel:_$!<HomePage>!$_")


def google_card(one: Person, number: int) -> bytes:
    """Write the card as Google Contacts and Android do: FN first, upper-case types, PNG portraits."""
    picture = base64.b64encode(png(_colour(number))).decode()
    types = {"Mobile": "CELL", "Home": "HOME", "Work": "WORK"}
    return _card(
        (
            "VERSION:3.0",
            f"FN:{_text(one.full_name)}",
            f"N:{_structured(one.family, one.given, one.middle, one.prefix, '')}",
            *(
                f"EMAIL;TYPE=INTERNET{';TYPE=HOME' if place == 0 else ''}:{email}"
                for place, email in enumerate(one.emails)
            ),
            *(f"TEL;TYPE={types[phone.label]}:{_text(phone.text)}" for phone in one.phones),
            *(f"ADR;TYPE={address.label.upper()}:{_structured(*_place(address))}" for address in one.addresses),
            *_only(
                (one.organisation, f"ORG:{_structured(one.organisation, *filter(None, [one.department]))}"),
                (one.title, f"TITLE:{_text(one.title)}"),
                (one.birthday, f"BDAY:{one.birthday:%Y%m%d}" if one.birthday else ""),
                (one.website, f"URL:{one.website}"),
                (one.note, f"NOTE:{_text(one.note)}"),
                (number % 7 == 0, f"PHOTO;ENCODING=b;TYPE=PNG:{picture}"),
            ),
            f"CATEGORIES:{_listed(('myContacts', *one.tags))}",
        )
    )


def _quoted_printable(name: str, *parts: str) -> bytes:
    """Write a property as old telephones do: UTF-8 in quoted-printable, soft line breaks, semicolons between parts."""
    plain = frozenset(b",.@()+-/'" + bytes(range(48, 58)) + bytes(range(65, 91)) + bytes(range(97, 123)))
    codes = [
        code
        for place, part in enumerate(parts)
        for code in (
            *((";",) if place else ()),
            *(chr(octet) if octet in plain else f"={octet:02X}" for octet in part.replace("\n", "\r\n").encode()),
        )
    ]
    lines, line = [], f"{name};CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:"
    for code in codes:
        if len(line) + len(code) >= _WIDTH:
            lines.append(f"{line}=")
            line = ""
        line += code
    return "".join(f"{row}\r\n" for row in (*lines, line)).encode()


def old_phone_card(one: Person, number: int) -> bytes:
    """Write the card as a feature phone does, in vCard 2.1: bare types, quoted-printable, a blank line after photos."""
    types = {"Mobile": "CELL", "Home": "HOME", "Work": "WORK"}
    picture = _folded(f"PHOTO;ENCODING=BASE64;JPEG:{base64.b64encode(jpeg(_colour(number))).decode()}") + b"\r\n"
    return b"".join(
        (
            b"BEGIN:VCARD\r\nVERSION:2.1\r\n",
            _quoted_printable("N", one.family, one.given, one.middle, one.prefix, ""),
            _quoted_printable("FN", one.full_name),
            *(_folded(f"TEL;{types[phone.label]}:{phone.text}") for phone in one.phones),
            *(_folded(f"EMAIL;{('HOME', 'WORK')[place > 0]}:{email}") for place, email in enumerate(one.emails)),
            *(_quoted_printable(f"ADR;{address.label.upper()}", *_place(address)) for address in one.addresses),
            _quoted_printable("ORG", one.organisation) if one.organisation else b"",
            _quoted_printable("NOTE", one.note) if one.note else b"",
            _folded(f"BDAY:{one.birthday:%Y-%m-%d}") if one.birthday else b"",
            picture if number % 2 == 0 else b"",
            b"END:VCARD\r\n",
        )
    )


def modern_card(one: Person, number: int) -> bytes:
    """Write the card as a program of today does, in vCard 4.0: parameters in quotes, tel: URIs, data: portraits."""
    born = "" if one.birthday is None else one.birthday.strftime("--%m%d" if number % 4 == 0 else "%Y%m%d")
    portrait = base64.b64encode(png(_colour(number))).decode()
    return _card(
        (
            "VERSION:4.0",
            f"UID:urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'https://example.org/contacts/{number}')}",
            f"REV:{_FIRST_REVISION + datetime.timedelta(hours=number):%Y%m%dT%H%M%SZ}",
            *_modern_names(one),
            *_only(
                (one.nickname, f"NICKNAME:{_listed((one.nickname, one.nickname + ', 🦊'))}"),
                (one.organisation, _modern_organisation(one)),
                (one.title, f"TITLE:{_text(one.title)}"),
            ),
            *_modern_ways(one, number),
            f"LANG;PREF=1:{one.culture.language}",
            *_only(
                (born, f"BDAY:{born}"),
                (one.tags, f"CATEGORIES:{_listed(one.tags)}"),
                (one.website, f"URL;PREF=1:{one.website}"),
                (one.note, f"NOTE;LANGUAGE=en:{_text(one.note)} 👋🏽"),
                (number % 4 == 0, f"PHOTO:data:image/png;base64,{portrait}"),
            ),
        )
    )


def _modern_names(one: Person) -> Iterable[str]:
    if not one.given:
        yield from ("KIND:org", f"FN:{_text(one.full_name)}")
        return
    yield "KIND:individual"
    name = _structured(one.family, one.given, one.middle, one.prefix, "")
    if one.roman[1] not in {"", one.family}:
        roman = f"{one.roman[0]} {one.roman[1]}"
        yield f"FN;ALTID=1;LANGUAGE={one.culture.language}:{_text(one.full_name)}"
        yield f"FN;ALTID=1;LANGUAGE=en:{_text(roman)}"
        yield f'N;ALTID=1;LANGUAGE={one.culture.language};SORT-AS="{one.roman[1]},{one.roman[0]}":{name}'
        yield f"N;ALTID=1;LANGUAGE=en:{_structured(one.roman[1], one.roman[0], '', '', '')}"
    else:
        yield from (f"FN:{_text(one.full_name)}", f'N;SORT-AS="{one.family},{one.given}":{name}')


def _modern_organisation(one: Person) -> str:
    sort_as = one.organisation.replace('"', "")
    return f'ORG;SORT-AS="{sort_as}":{_structured(one.organisation, *filter(None, [one.department]))}'


def _modern_ways(one: Person, number: int) -> Iterable[str]:
    types = {"Mobile": '"voice,cell"', "Home": '"voice,home"', "Work": "work"}
    for place, email in enumerate(one.emails, start=1):
        yield f"EMAIL;TYPE={('home', 'work')[place > 1]};PREF={place}:{email}"
    for place, phone in enumerate(one.phones, start=1):
        if (number + place) % 3 == 0:
            yield f"TEL;TYPE={types[phone.label]};PREF={place}:{_text(phone.text)}"
        else:
            yield f"TEL;VALUE=uri;TYPE={types[phone.label]};PREF={place}:tel:{phone.international}"
    for address in one.addresses:
        label = f"{address.street}\\n{address.code} {address.city}".replace('"', "")
        yield f'ADR;TYPE={address.label.lower()};CC={address.country};LABEL="{label}":{_structured(*_place(address))}'
