"""The shipped sample: four address books of invented people, as four programs would have written them.

All names are made up, all e-mail addresses lie in domains reserved by RFC 2606, and phone numbers come from ranges set
aside for fiction where a country has one. `CAST` names the people the demo acts on, `BROKEN` the records an importer
must refuse; every other record is good. `python -m capsule_services.sample.generate` writes the files anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType
from typing import Final, Literal

import attrs

__all__ = [
    "BROKEN",
    "CAST",
    "CONTACTS_V4",
    "FRIENDS_V3",
    "GOOGLE",
    "OUTLOOK",
    "RECORDS",
    "Broken",
    "File",
    "Member",
    "Reason",
    "Role",
    "broken_in",
    "member",
    "read",
]

File = Literal["google.csv", "outlook.csv", "friends-v3.vcf", "contacts-v4.vcf"]
Role = Literal["purged", "swept", "kept", "living"]
Reason = Literal[
    "CARD_NUMBER",
    "CARD_UNTERMINATED",
    "COLUMN_COUNT",
    "CONTROL_CHARACTER",
    "DATE_IMPOSSIBLE",
    "EMAIL_MALFORMED",
    "EMPTY",
    "PHOTO_UNREADABLE",
]

GOOGLE: Final = "google.csv"
OUTLOOK: Final = "outlook.csv"
FRIENDS_V3: Final = "friends-v3.vcf"
CONTACTS_V4: Final = "contacts-v4.vcf"

RECORDS: Final[Mapping[File, int]] = MappingProxyType({GOOGLE: 1200, OUTLOOK: 500, FRIENDS_V3: 200, CONTACTS_V4: 150})
"""How many data rows or cards each file holds, the broken ones included."""


@attrs.frozen(kw_only=True)
class Member:
    """One of the cast. Names, e-mail, phone and the two `words` occur in one record of one file and nowhere else."""

    role: Role
    file: File
    record: int
    given_name: str
    family_name: str
    email: str
    phone: str
    typed_phone: str
    street: str
    city: str
    note: str
    words: tuple[str, str]

    @property
    def tokens(self) -> tuple[str, ...]:
        """The strings by which this person, and nobody else, would be recognised anywhere on a disk."""
        return (self.given_name, self.family_name, self.email.partition("@")[0], self.phone.lstrip("+"), *self.words)


@attrs.frozen
class Broken:
    """A record that must be refused. Records count from 1: data rows in a CSV, BEGIN:VCARD lines in a vCard file."""

    file: File
    record: int
    reason: Reason


CAST: Final = (
    Member(
        role="purged",
        file=GOOGLE,
        record=333,
        given_name="Zephyrantha",
        family_name="Quillonbrek",
        email="wrenzolith@example.org",
        phone="+447700900813",
        typed_phone="07700 900813",
        street="7 Mossgrindle Vennel",
        city="Edinburgh",
        note="Collects springs of old brambleclocks, writes back within the hour.",
        words=("Mossgrindle", "brambleclock"),
    ),
    Member(
        role="swept",
        file=OUTLOOK,
        record=222,
        given_name="Ottolinde",
        family_name="Farwuchtel",
        email="jaspelwick@example.net",
        phone="+493023125642",
        typed_phone="030 / 23125-642",
        street="Thornquibbelgasse 31",
        city="Berlin",
        note="Prefers letters in gullverdant envelopes.",
        words=("Thornquibbelgasse", "gullverdant"),
    ),
    Member(
        role="kept",
        file=FRIENDS_V3,
        record=111,
        given_name="Ysoldrane",
        family_name="Pemberquist",
        email="kestrovane@example.com",
        phone="+33639984721",
        typed_phone="06.39.98.47.21",
        street="5 quai Larmouzelle",
        city="Nîmes",
        note="We owe her one copperfinch kettle, with its lid.",
        words=("Larmouzelle", "copperfinch"),
    ),
    Member(
        role="living",
        file=CONTACTS_V4,
        record=77,
        given_name="Bartolwyn",
        family_name="Hazelgrunt",
        email="mirthwobble@example.org",
        phone="+15055550147",
        typed_phone="(505) 555-0147",
        street="48 Fiddlemarrow Court",
        city="Santa Fe, NM",
        note="Plays the dulcivarium on Thursdays.",
        words=("Fiddlemarrow", "dulcivarium"),
    ),
)

BROKEN: Final = (
    Broken(GOOGLE, 17, "EMAIL_MALFORMED"),
    Broken(GOOGLE, 256, "COLUMN_COUNT"),
    Broken(GOOGLE, 512, "CARD_NUMBER"),
    Broken(GOOGLE, 700, "EMPTY"),
    Broken(GOOGLE, 1100, "DATE_IMPOSSIBLE"),
    Broken(OUTLOOK, 40, "CONTROL_CHARACTER"),
    Broken(OUTLOOK, 404, "COLUMN_COUNT"),
    Broken(FRIENDS_V3, 60, "PHOTO_UNREADABLE"),
    Broken(FRIENDS_V3, 150, "CARD_UNTERMINATED"),
    Broken(CONTACTS_V4, 25, "DATE_IMPOSSIBLE"),
    Broken(CONTACTS_V4, 150, "CARD_UNTERMINATED"),
)


def member(role: Role) -> Member:
    """Return the one member of the cast who plays *role*."""
    return next(one for one in CAST if one.role == role)


def broken_in(file: File) -> Mapping[int, Reason]:
    """Return the records of *file* that must be refused, each with its reason."""
    return {one.record: one.reason for one in BROKEN if one.file == file}


def read(file: File) -> bytes:
    """Return *file* as it ships: bytes, since each program writes its own encoding and line ends."""
    return resources.files(__name__).joinpath(file).read_bytes()
