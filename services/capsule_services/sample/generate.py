"""Write the sample anew: `python -m capsule_services.sample.generate`. The same seed always gives the same bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Final

from capsule_services.sample import CAST, CONTACTS_V4, FRIENDS_V3, GOOGLE, OUTLOOK, RECORDS, File, broken_in
from capsule_services.sample.cards import apple_card, google_card, modern_card, old_phone_card
from capsule_services.sample.cultures import CULTURES, WESTERN
from capsule_services.sample.people import Person, played_by, population
from capsule_services.sample.spreadsheets import (
    GOOGLE_HEADER,
    OUTLOOK_HEADER,
    Row,
    google_book,
    google_row,
    outlook_book,
    outlook_row,
)

__all__ = ["compose", "main"]

_SEED: Final = 20240501
_TEST_CARD: Final = "4111 1111 1111 1111"


def compose() -> Mapping[File, bytes]:
    """Return the four files."""
    random, taken = Random(_SEED), set[str]()
    everyone = population(random, taken=taken)
    western = population(random, cultures=WESTERN, taken=taken)
    return {
        GOOGLE: google_book(_google_rows(everyone)),
        OUTLOOK: outlook_book(_outlook_rows(western)),
        FRIENDS_V3: b"".join(_old_cards(everyone)),
        CONTACTS_V4: b"".join(_new_cards(everyone)),
    }


def main() -> None:
    """Write the four files beside this module."""
    for file, content in compose().items():
        Path(__file__).with_name(file).write_bytes(content)


def _numbered(file: File, strangers: Iterator[Person]) -> Iterator[tuple[int, Person]]:
    """Number the people of *file*, each of the cast in place; a record to be broken starts from a whole person."""
    home = {one.country: one for one in CULTURES}
    countries = {"purged": "GB", "swept": "DE", "kept": "FR", "living": "US"}
    cast = {one.record: played_by(one, culture=home[countries[one.role]]) for one in CAST if one.file == file}
    for number in range(1, RECORDS[file] + 1):
        one = cast.get(number) or next(strangers)
        while number in broken_in(file) and not (one.given and one.emails and one.phones):
            one = next(strangers)
        yield number, one


def _set(row: Row, header: tuple[str, ...], **cells: str) -> Row:
    named = {name.replace("_", " "): text for name, text in cells.items()}
    return [named.get(name, cell) for name, cell in zip(header, row, strict=True)]


def _google_rows(strangers: Iterator[Person]) -> Iterator[Row]:
    breaks: Mapping[str, Callable[[Row], Row]] = {
        "EMAIL_MALFORMED": lambda row: [cell.replace("@", " at ") for cell in row],
        "COLUMN_COUNT": lambda row: [*row[:14], "a note", " its comma left bare", *row[15:]],
        "CARD_NUMBER": lambda row: _set(row, GOOGLE_HEADER, Notes=f"Pays with {_TEST_CARD}, as always."),
        "EMPTY": lambda row: _set([""] * len(row), GOOGLE_HEADER, Labels="* myContacts", Notes="Call back?"),
        "DATE_IMPOSSIBLE": lambda row: _set(row, GOOGLE_HEADER, Birthday="2023-02-31"),
    }
    for number, one in _numbered(GOOGLE, strangers):
        row, reason = google_row(one, number), broken_in(GOOGLE).get(number)
        yield breaks[reason](row) if reason else row


def _outlook_rows(strangers: Iterator[Person]) -> Iterator[Row]:
    breaks: Mapping[str, Callable[[Row], Row]] = {
        "CONTROL_CHARACTER": lambda row: _set(row, OUTLOOK_HEADER, First_Name=f"{row[1][:2]}\0{row[1][2:]}"),
        "COLUMN_COUNT": lambda row: [*row, "False", "Normal"],
    }
    for number, one in _numbered(OUTLOOK, strangers):
        row, reason = outlook_row(one, number), broken_in(OUTLOOK).get(number)
        yield breaks[reason](row) if reason else row


def _unended(card: bytes) -> bytes:
    return card.removesuffix(b"END:VCARD\r\n")


def _old_cards(strangers: Iterator[Person]) -> Iterator[bytes]:
    photo = b"PHOTO;ENCODING=b;TYPE=JPEG:@@@ not base64 !!!\r\n"
    breaks: Mapping[str, Callable[[bytes], bytes]] = {
        "CARD_UNTERMINATED": _unended,
        "PHOTO_UNREADABLE": lambda card: (
            _unended(re.sub(rb"PHOTO.*\r\n(?: .*\r\n)*", b"", card)) + photo + b"END:VCARD\r\n"
        ),
    }
    writers = (
        apple_card,
        apple_card,
        apple_card,
        apple_card,
        apple_card,
        google_card,
        google_card,
        google_card,
        old_phone_card,
    )
    for number, one in _numbered(FRIENDS_V3, strangers):
        reason = broken_in(FRIENDS_V3).get(number)
        card = (apple_card if reason else writers[number % len(writers)])(one, number)
        yield breaks[reason](card) if reason else card


def _new_cards(strangers: Iterator[Person]) -> Iterator[bytes]:
    breaks: Mapping[str, Callable[[bytes], bytes]] = {
        "CARD_UNTERMINATED": _unended,
        "DATE_IMPOSSIBLE": lambda card: _unended(re.sub(rb"BDAY.*\r\n", b"", card)) + b"BDAY:20230231\r\nEND:VCARD\r\n",
    }
    for number, one in _numbered(CONTACTS_V4, strangers):
        card, reason = modern_card(one, number), broken_in(CONTACTS_V4).get(number)
        yield breaks[reason](card) if reason else card


if __name__ == "__main__":
    main()
