"""The files people bring: address books in every format that is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Final

import attrs

from capsule_core.contacts import Contact, PostalAddress
from capsule_core.errors import InvalidField, NewerSchema
from capsule_core.export import Exported, Refused, Row, csv, google, json, outlook, vcard
from capsule_services import sample
from tests.fuzzing.target import Target

__all__ = ["TARGETS"]

NOW: Final = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
REASON: Final = re.compile(r"[A-Z][A-Z_]+")
Reader = Callable[[Iterable[bytes]], Iterator[Row | Refused]]


def _new_id(number: int) -> str:
    return f"c{number}"


def _photo_id(number: int) -> str:
    return f"p{number}"


_VCARD: Final[Reader] = partial(vcard.read, new_id=_new_id, photo_id=_photo_id)
_GOOGLE: Final[Reader] = partial(google.read, new_id=_new_id)
_OUTLOOK: Final[Reader] = partial(outlook.read, new_id=_new_id)


def _taken(read: Reader, data: bytes) -> None:
    """What is said of a file does not depend on how it is cut, and what was taken can be given out and taken again."""
    found, error = _told(read, [data])
    again, differently = _told(read, [data[at : at + 61] for at in range(0, len(data), 61)])
    assert again == found
    assert repr(differently) == repr(error)
    rows = [row for row in found if isinstance(row, Row)]
    numbers = [row.number for row in found]
    assert numbers == sorted(set(numbers))
    for refused in found:
        assert isinstance(refused, Row) or (REASON.fullmatch(refused.reason) and refused.problem)
    _goes_round(rows)
    if error is not None:
        raise error


def _told(read: Reader, chunks: Iterable[bytes]) -> tuple[list[Row | Refused], Exception | None]:
    found: list[Row | Refused] = []
    try:
        found.extend(read(chunks))
    except InvalidField as error:
        assert error.field == "file"
        return found, error
    except NewerSchema as error:
        return found, error
    return found, None


def _goes_round(rows: list[Row]) -> None:
    records = [_exported(row) for row in rows]
    bodies = [(each.contact, each.created, each.updated) for each in records]
    whole = [
        (row.contact, row.created, row.updated, row.entries, row.photo) for row in _rows(json.read, json.write(records))
    ]
    assert whole == [(*body, each.entries, each.photo) for body, each in zip(bodies, records, strict=True)]
    assert [(row.contact, row.created, row.updated) for row in _rows(csv.read, csv.write(records))] == bodies
    for version in vcard.VERSIONS:
        cards = _rows(_VCARD, vcard.write(records, version=version))
        wanted = [_on_a_card(contact, number) for number, (contact, _, _) in enumerate(bodies, 1)]
        assert [row.contact for row in cards] == wanted


def _rows(read: Reader, written: Iterable[bytes]) -> list[Row]:
    found = list(read(written))
    assert all(isinstance(row, Row) for row in found), found
    return [row for row in found if isinstance(row, Row)]


def _exported(row: Row) -> Exported:
    created = row.created or NOW
    return Exported(row.contact, entries=row.entries, photo=row.photo, created=created, updated=row.updated or created)


def _on_a_card(contact: Contact, number: int) -> Contact:
    """A card says nobody's owner and source, and has no place for an address that is only a label."""
    addresses = tuple(each for each in contact.addresses if each != PostalAddress(label=each.label))
    return attrs.evolve(contact, id=_new_id(number), owner="", source="import", addresses=addresses)


def _cards(*files: sample.File) -> Iterator[bytes]:
    """The cards of some files, one by one: the first of each kind, and all that are broken."""
    for file in files:
        whole = re.findall(rb"BEGIN:VCARD.*?END:VCARD\r?\n", sample.read(file), re.DOTALL)
        yield from (card for card in whole[:25] if len(card) < 3000)
        yield b"".join(whole[25:28])


def _old_cards() -> Iterator[bytes]:
    quoted = b"N;CHARSET=ISO-8859-1;ENCODING=QUOTED-PRINTABLE:Z=FCrich=\r\n;Bo"
    agent = b"AGENT:\nBEGIN:VCARD\nN:C;D\nEND:VCARD"
    yield b"BEGIN:VCARD\r\nVERSION:2.1\r\nN:Vane;Bo\r\nTEL;HOME;VOICE:+44 20 7946 0000\r\nEND:VCARD\r\n"
    yield b"BEGIN:VCARD\r\nVERSION:2.1\r\n%b\r\nEND:VCARD\r\n" % quoted
    yield b"BEGIN:VCARD\nVERSION:2.1\nN:A;B\n%b\nBDAY;VALUE=text:circa 1800\nEND:VCARD\n" % agent
    yield "BEGIN:VCARD\nFN:Ä\nitem1.TEL:1\nitem1.X-ABLabel:_$!<Mobile>!$_\nEND:VCARD\n".encode("utf-16")


def _table(file: sample.File, *, rows: int) -> Iterator[bytes]:
    """The header of a file with some of its rows, from several places."""
    header, *lines = sample.read(file).splitlines(keepends=True)
    for start in range(0, len(lines) - rows, max(1, len(lines) // 6)):
        yield b"".join([header, *lines[start : start + rows]])


def _lines(header: bytes, *rows: bytes) -> bytes:
    return b"\r\n".join([header, *rows, b""])


_OF_EACH: Final = (
    _lines(
        b"First Name,Last Name,Organization Name,Labels,E-mail 1 - Label,E-mail 1 - Value,Phone 1 - Value,Birthday",
        b"Bo,Vane,Acme,Pals ::: * myContacts,* Work,bo@example.org ::: b@example.org,020 7946 0000,2000-02-29",
    ),
    _lines(
        b"Given Name,Family Name,Group Membership,Address 1 - Formatted,Relation 1 - Type,Relation 1 - Value",
        b",,,12 Sea,Boss,Al",
    ),
)
_SHORT: Final = _lines(
    b"First Name,Last Name,Company,E-mail Address,E-mail Type,Birthday,Business Street,Notes,Categories",
    b'Bo,Vane,Acme,bo@example.org,SMTP,2/29/2000,"1 Sea\r\nRoad",,Friends;Family',
    b",,Acme,,,0/0/00,,x,",
)


def _exports() -> Iterator[Exported]:
    for row in (*_VCARD([*_cards(sample.CONTACTS_V4)][:6]), *_GOOGLE(_OF_EACH[:1])):
        if isinstance(row, Row):
            yield attrs.evolve(_exported(row), photo=None)


def _written(write: Callable[[Iterable[Exported]], Iterable[bytes]]) -> Iterator[bytes]:
    for export in _exports():
        yield b"".join(write([export]))
    yield b"".join(write([]))


TARGETS: Final = (
    Target(
        name="vcard",
        take=partial(_taken, _VCARD),
        parsers=(vcard.read,),
        samples=lambda: [*_cards(sample.FRIENDS_V3, sample.CONTACTS_V4), *_old_cards()],
        raises=(InvalidField,),
        runs=300,
    ),
    Target(
        name="google-csv",
        take=partial(_taken, _GOOGLE),
        parsers=(google.read,),
        samples=lambda: [*_table(sample.GOOGLE, rows=2), *_OF_EACH],
        raises=(InvalidField,),
        longest=8192,
        runs=700,
    ),
    Target(
        name="outlook-csv",
        take=partial(_taken, _OUTLOOK),
        parsers=(outlook.read,),
        samples=lambda: [*_table(sample.OUTLOOK, rows=2), _SHORT],
        raises=(InvalidField,),
        longest=8192,
        runs=350,
    ),
    Target(
        name="export-csv",
        take=partial(_taken, csv.read),
        parsers=(csv.read,),
        samples=lambda: _written(csv.write),
        raises=(InvalidField,),
        longest=8192,
        runs=500,
    ),
    Target(
        name="export-json",
        take=partial(_taken, json.read),
        parsers=(json.read,),
        samples=lambda: _written(json.write),
        raises=(InvalidField, NewerSchema),
        longest=8192,
        runs=600,
    ),
)
