"""People for measuring: invented, of the size that a real address book has, each another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

from capsule_core.contacts import Email, Entry, Person, Phone, Photo
from capsule_core.names import made_id

__all__ = ["FAMILY", "GIVEN", "NOW", "entry", "person", "photo_of"]

NOW: Final = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)

_SYLLABLES: Final = (
    "ba",
    "dor",
    "el",
    "fin",
    "ga",
    "har",
    "in",
    "jo",
    "kar",
    "lem",
    "mo",
    "nis",
    "or",
    "pe",
    "quil",
    "ru",
)


def _names(seed: int, count: int) -> tuple[str, ...]:
    random, found = Random(seed), dict[str, None]()  # noqa: S311  made up from a seed
    while len(found) < count:
        found["".join(random.choices(_SYLLABLES, k=random.randint(2, 4))).capitalize()] = None
    return tuple(found)


GIVEN: Final = _names(1, 1_000)
FAMILY: Final = _names(2, 1_000)
_EMPLOYERS: Final = _names(3, 200)
_PIXEL: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def _id(letter: str, number: int) -> str:
    random = Random(f"{letter}{number}")  # noqa: S311  made up from a seed
    return made_id(letter, now=NOW + timedelta(milliseconds=number), randomness=random.randbytes(10))


def person(number: int) -> Person:
    """Return the person of that number, always the same."""
    given, family = GIVEN[number * 7 % 1_000], FAMILY[number * 13 % 997]
    return Person(
        id=_id("c", number),
        given_name=given,
        family_name=family,
        organisation_name=f"{_EMPLOYERS[number % 200]} Ltd",
        job_title="Clerk",
        emails=(Email(f"{given}.{family}.{number}@example.org".lower(), label="work", primary=True),),
        phones=(Phone(f"+44 20 7946 {number % 10_000:04}", label="work"),),
        tags=("customers",),
        owner="u1",
    )


def entry(contact: str, number: int) -> Entry:
    """Return the note of that number about a contact."""
    body = "Asked about the delivery of last week; wants to be called back in the morning."
    name = _id("n", number)
    return Entry(id=name, contact=contact, channel="note", occurred_at="2026-05-04T09:30:00Z", body=body)


def photo_of(contact: str) -> Photo:
    """Return the photo of a contact: one pixel."""
    return Photo(id=f"p{contact[1:]}", contact=contact, media_type="image/png", data=_PIXEL)
