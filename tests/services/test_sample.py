"""The shipped sample is what its generator writes, good where it says so and broken where it says so."""

from __future__ import annotations

import base64
import binascii
import csv
import datetime
import io
import operator
import re
import unicodedata
from collections.abc import Callable, Mapping
from random import Random
from typing import get_args

import phonenumbers
import pytest
import vobject

from capsule_services.sample import (
    BROKEN,
    CONTACTS_V4,
    FRIENDS_V3,
    GOOGLE,
    OUTLOOK,
    RECORDS,
    File,
    Reason,
    Role,
    broken_in,
    member,
    read,
)
from capsule_services.sample.generate import compose
from capsule_services.sample.people import digits_of, luhn, population
from capsule_services.sample.pictures import jpeg, png
from capsule_services.sample.spreadsheets import GOOGLE_HEADER, OUTLOOK_HEADER

EMAIL = re.compile(r"[\w.+-]+@([\w.-]+)")
RESERVED = re.compile(r"(example\.(com|org|net)|[\w-]+\.example)")
FILES: tuple[File, ...] = (GOOGLE, OUTLOOK, FRIENDS_V3, CONTACTS_V4)
ROLES: tuple[Role, ...] = get_args(Role)


def rows(file: File) -> list[list[str]]:
    text = read(file).decode("cp1252" if file == OUTLOOK else "utf-8")
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))[1:]


def cards(file: File) -> list[str]:
    """Split at BEGIN, undo folding, soft line breaks and quoted-printable."""
    unfolded = re.sub(r"\r\n[ \t]", "", read(file).decode())
    return [_decoded(card) for card in re.split(r"^BEGIN:VCARD\r\n", unfolded, flags=re.MULTILINE)[1:]]


def _decoded(card: str) -> str:
    # Only inside a quoted-printable value does "=" at the end of a line break it; base64 ends in one, too.
    soft = r"^[^\r\n]*QUOTED-PRINTABLE:(?:[^\r\n]*=\r\n)*[^\r\n]*"
    return re.sub(soft, lambda found: binascii.a2b_qp(found[0]).decode(), card, flags=re.MULTILINE)


def records(file: File) -> list[str]:
    return cards(file) if file.endswith(".vcf") else ["\n".join(row) for row in rows(file)]


def cells(file: File, record: int) -> Mapping[str, str]:
    header = GOOGLE_HEADER if file == GOOGLE else OUTLOOK_HEADER
    return dict(zip(header, rows(file)[record - 1], strict=True))


def card_numbers(text: str) -> list[str]:
    runs = re.findall(r"(?<!\d)\d(?:[ .-]?\d){12,18}(?!\d)", text)
    return [run for run in runs if luhn(digits_of(run))]


def photo_reads(card: str) -> bool:
    found = re.search(r"^PHOTO[^:]*:(?:data:image/png;base64,)?(.*?)\r$", card, flags=re.MULTILINE)
    try:
        picture = base64.b64decode(found[1], validate=True) if found else png((0, 0, 0))
    except binascii.Error:
        return False
    return picture.startswith((b"\x89PNG\r\n", b"\xff\xd8\xff"))


def date_exists(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def dates_exist(record: str) -> bool:
    """Tell whether every whole date in a CSV row or on a card's BDAY line is one of the calendar."""
    found = re.findall(r"^(?:BDAY[^:]*:)?(\d{4}-?\d\d-?\d\d)\r?$", record, flags=re.MULTILINE)
    return all(date_exists(text) for text in found)


FAULTS: Mapping[Reason, Callable[[str], bool]] = {
    "EMAIL_MALFORMED": lambda record: bool(re.search(r"\w at [\w-]*\.?example", record)),
    "CARD_NUMBER": lambda record: bool(card_numbers(record)),
    "CONTROL_CHARACTER": lambda record: "\0" in record,
    "DATE_IMPOSSIBLE": lambda record: not dates_exist(record),
    "CARD_UNTERMINATED": lambda record: "VERSION:" in record and "END:VCARD" not in record,
    "PHOTO_UNREADABLE": lambda record: "VERSION:" in record and not photo_reads(record),
}


def faults(file: File) -> Mapping[int, list[Reason]]:
    """Find what is wrong with each record of *file*, by means of this test's own."""
    found = {
        at: [name for name, shown in FAULTS.items() if shown(one)] for at, one in enumerate(records(file), start=1)
    }
    header = {GOOGLE: GOOGLE_HEADER, OUTLOOK: OUTLOOK_HEADER}.get(file, ())
    for at, row in enumerate(rows(file) if header else [], start=1):
        named = [
            cell for name, cell in zip(header, row, strict=False) if re.search(r"Name|Value|Company|Address$", name)
        ]
        if len(row) != len(header):
            found[at].append("COLUMN_COUNT")
        if not any(named):
            found[at].append("EMPTY")
    return dict(filter(operator.itemgetter(1), found.items()))


def test_the_files_are_what_the_generator_writes() -> None:
    written = compose()
    for file in FILES:
        assert read(file) == written[file], f"{file} differs: run python -m capsule_services.sample.generate"


def test_the_files_hold_the_records_they_promise() -> None:
    assert {file: len(records(file)) for file in FILES} == dict(RECORDS)
    assert sum(RECORDS.values()) - len(BROKEN) >= 2000
    assert sum(len(read(file)) for file in FILES) < 1_500_000


@pytest.mark.parametrize("file", FILES)
def test_a_record_is_broken_in_the_way_declared_and_in_no_other(file: File) -> None:
    assert faults(file) == {record: [reason] for record, reason in broken_in(file).items()}


def test_every_reason_is_shown() -> None:
    assert {one.reason for one in BROKEN} == set(get_args(Reason))


@pytest.mark.parametrize("role", ROLES)
def test_a_token_of_the_cast_occurs_in_one_record_only(role: Role) -> None:
    actor = member(role)
    assert all(word in actor.street + actor.note for word in actor.words)
    everywhere = [(file, at, one.casefold()) for file in FILES for at, one in enumerate(records(file), start=1)]
    for token in actor.tokens:
        where = [(file, at) for file, at, record in everywhere if token.casefold() in record]
        # A number stands in the file as it was typed, so its bare digits may be missing there.
        assert where == [(actor.file, actor.record)] or (token.isdigit() and not where), token


@pytest.mark.parametrize("role", ROLES)
def test_a_number_of_the_cast_belongs_to_nobody_else(role: Role) -> None:
    actor = member(role)
    subscriber = actor.phone[-9:]
    holders = [
        (file, at)
        for file in FILES
        for at, record in enumerate(records(file), start=1)
        if any(subscriber in digits_of(line) for line in record.splitlines() if "base64" not in line)
    ]
    assert holders == [(actor.file, actor.record)]
    region = {"purged": "GB", "swept": "DE", "kept": "FR", "living": "US"}[role]
    number = phonenumbers.parse(actor.typed_phone, region)
    assert phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) == actor.phone


@pytest.mark.parametrize("file", FILES)
def test_every_mail_domain_is_reserved(file: File) -> None:
    domains = {domain for record in records(file) for domain in EMAIL.findall(record)}
    assert domains
    assert all(RESERVED.fullmatch(domain) for domain in domains), domains


@pytest.mark.parametrize("file", FILES)
def test_no_mail_address_is_given_to_two_people(file: File) -> None:
    held = [set(map(str.casefold, re.findall(r"[\w.+-]+@[\w.-]+", record))) for record in records(file)]
    assert sum(map(len, held)) == len(set().union(*held))


def test_every_number_is_possible_where_it_is_typed() -> None:
    people = population(Random(7), taken=set())  # noqa: S311 - a seed, not a secret
    for one in (next(people) for _ in range(600)):
        for phone in one.phones:
            text = re.sub(r"^00", "+", phone.text)
            number = phonenumbers.parse(text, one.culture.country)
            assert phonenumbers.is_possible_number(number), (one.culture.country, phone)
            same = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            assert same == phone.international, (one.culture.country, phone)


def test_many_scripts_are_spoken() -> None:
    names = "".join(row[0] + row[2] for row in rows(GOOGLE))
    scripts = {unicodedata.name(letter).split()[0] for letter in names if letter.isalpha()}
    assert scripts >= {
        "LATIN",
        "GREEK",
        "CYRILLIC",
        "ARABIC",
        "HEBREW",
        "DEVANAGARI",
        "THAI",
        "CJK",
        "HIRAGANA",
        "HANGUL",
    }


def test_a_name_is_written_in_one_script() -> None:
    people = population(Random(3), taken=set())  # noqa: S311 - a seed, not a secret
    for one in (next(people) for _ in range(600)):
        for name in (one.given, one.family):
            scripts = {unicodedata.name(letter).split()[0] for letter in name if letter.isalpha()}
            assert len(scripts) <= 1 or "CJK" in scripts, name


def test_google_writes_utf8_with_bare_line_feeds() -> None:
    assert b"\r" not in read(GOOGLE)
    assert read(GOOGLE).startswith(b"First Name,Middle Name,Last Name,Phonetic First Name,")
    assert any(" ::: " in row[GOOGLE_HEADER.index("Phone 2 - Value")] for row in rows(GOOGLE))
    assert cells(GOOGLE, member("purged").record)["Labels"] == "* myContacts ::: Friends"


def test_outlook_writes_windows_1252_with_crlf() -> None:
    content = read(OUTLOOK)
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert all(sign.encode("cp1252") in content for sign in "éßø€")
    with pytest.raises(UnicodeDecodeError):
        content.decode("utf-8")
    assert len(OUTLOOK_HEADER) == 92


@pytest.mark.parametrize("file", [FRIENDS_V3, CONTACTS_V4])
def test_cards_fold_at_75_octets_and_never_inside_a_character(file: File) -> None:
    lines = read(file).split(b"\r\n")
    assert max(map(len, lines)) <= 76
    assert any(line.startswith(b" ") for line in lines)
    for line in lines:
        line.decode()


def test_old_cards_show_every_manner_of_writing() -> None:
    content = read(FRIENDS_V3)
    for sign in (
        b"VERSION:2.1",
        b"CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:",
        b"=\r\n",
        b"X-ABLabel",
        b"X-PHONETIC-FIRST-NAME",
        b"X-APPLE-OMIT-YEAR",
        b"PHOTO;ENCODING=b;TYPE=JPEG:",
        b"PHOTO;ENCODING=b;TYPE=PNG:",
        b"PHOTO;ENCODING=BASE64;JPEG:",
        b"CATEGORIES:",
        b"\\n",
        b"\\,",
        b"\\;",
    ):
        assert sign in content, sign


def test_new_cards_show_every_manner_of_writing() -> None:
    content = read(CONTACTS_V4)
    for sign in (
        "KIND:org",
        "KIND:individual",
        "VALUE=uri",
        'TYPE="voice,home"',
        "ALTID=1",
        "SORT-AS",
        "LANG;PREF=1",
        "🦊",
    ):
        assert sign.encode() in content, sign
    assert b"PHOTO:data:image/png;base64," in content


def test_pictures_differ_by_colour_and_end_as_their_formats_do() -> None:
    assert png((1, 2, 3)) != png((3, 2, 1))
    assert png((1, 2, 3)).endswith(b"IEND\xaeB`\x82")
    assert jpeg((250, 2, 3)) != jpeg((3, 2, 250))
    assert jpeg((1, 2, 3)).endswith(b"\xff\xd9")


@pytest.mark.parametrize("file", [FRIENDS_V3, CONTACTS_V4])
def test_another_reader_of_vcards_understands_the_good_ones(file: File) -> None:
    parts = re.split(r"^(?=BEGIN:VCARD\r\n)", read(file).decode(), flags=re.MULTILINE)[1:]
    for at, part in enumerate(parts, start=1):
        if at not in broken_in(file):
            (card,) = vobject.readComponents(part, allowQP="VERSION:2.1" in part)
            assert card.fn.value.strip(), at
