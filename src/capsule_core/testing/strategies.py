"""Hypothesis strategies for values of the domain; each generates everything legal unless told otherwise."""

from __future__ import annotations

import base64
from datetime import UTC
from typing import TypeVar

from hypothesis import strategies as st

from capsule_core.contacts import (
    CHANNELS,
    DIRECTIONS,
    MEDIA_TYPES,
    Contact,
    CustomField,
    Email,
    Entry,
    Organisation,
    Person,
    Phone,
    Photo,
    PostalAddress,
    Website,
)
from capsule_core.export import Exported
from capsule_core.identifiers import identifier_problem
from capsule_core.personal import Form

__all__ = [
    "birthdays",
    "card_numbers",
    "contacts",
    "custom_fields",
    "email_addresses",
    "emails",
    "entries",
    "exports",
    "ids",
    "lines",
    "names",
    "organisations",
    "paragraphs",
    "persons",
    "phone_numbers",
    "phones",
    "photos",
    "postal_addresses",
    "websites",
]

T = TypeVar("T")

_COUNTRIES = ("1", "33", "44", "49", "81")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_RISKY = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "'=1",
    "''",
    '"',
    "a,b",
    "a;b",
    "<b>",
    "&amp;",
    "\\n",
    " ",
    "﷽",
    "𝒳",
    "\u202ex",
)
_MOMENTS = st.datetimes(timezones=st.just(UTC))
# Issuer prefixes with a length each is issued in.
_CARDS = (("4", 13), ("4", 16), ("4", 19), ("51", 16), ("55", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15))
_MORE_CARDS = (("300", 14), ("36", 14), ("6011", 16), ("65", 16), ("3528", 16), ("3589", 16), ("62", 16), ("62", 19))


def lines(*, min_size: int = 0, max_size: int = 60) -> st.SearchStrategy[str]:
    """One line of text in any script, spiced with what formats trip over."""
    drawn = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=min_size, max_size=max_size)
    return drawn | st.sampled_from([text for text in _RISKY if min_size <= len(text) <= max_size])


def paragraphs(*, max_size: int = 120) -> st.SearchStrategy[str]:
    """Text of many lines."""
    signs = st.characters(exclude_categories=("Cc", "Cs")) | st.sampled_from("\n\t")
    return st.text(signs, max_size=max_size) | lines(max_size=max_size)


def names() -> st.SearchStrategy[str]:
    """One line that is not blank."""
    return lines(min_size=1).filter(lambda text: bool(text.strip()))


def ids(*, letter: str = "c") -> st.SearchStrategy[str]:
    """Ids as a server makes them, beginning with *letter*."""
    return st.text("0123456789abcdefghijklmnopqrstuv", min_size=26, max_size=26).map(lambda tail: letter + tail)


def email_addresses() -> st.SearchStrategy[str]:
    """E-mail addresses, internationalised ones included (RFC 6531)."""
    local = st.text(_LETTERS + "._+-", min_size=1, max_size=20) | st.sampled_from(("Ann", "jürgen", "用户", "δοκιμή"))
    label = st.text(_LETTERS, min_size=1, max_size=12)
    top = st.sampled_from(("example", "com", "ORG", "münchen.example", "例え.テスト", "straße.example"))
    return st.builds("{}@{}.{}".format, local, label, top)


def phone_numbers() -> st.SearchStrategy[str]:
    """Phone numbers as people type them."""
    part = st.text("0123456789", min_size=2, max_size=4)
    typed = st.builds("{}{} {}-{}".format, st.sampled_from(("+", "0", "00", "")), part, part, part)
    return typed | st.sampled_from(("+44 20 7946 0958", "(020) 7946 0958", "020 7946 0958 ext. 3", "+٤٤٢٠٧٩٤٦٠٩٥٨"))


def emails() -> st.SearchStrategy[Email]:
    """E-mail addresses with what they are called."""
    return st.builds(Email, email_addresses(), label=lines(max_size=12), primary=st.booleans())


def phones() -> st.SearchStrategy[Phone]:
    """Phone numbers that can be read in every region, with what they are called."""
    part = st.text("0123456789", min_size=3, max_size=4)
    typed = st.builds("{}{} {}-{}".format, st.sampled_from(("+", "00")), st.sampled_from(_COUNTRIES), part, part)
    legible = typed.filter(lambda text: identifier_problem(Form.PHONE, text) is None)
    numbers = legible | st.sampled_from(("+44 20 7946 0958", "+44 (0)20 7946 0958 ext. 3", "+٤٤٢٠٧٩٤٦٠٩٥٨"))
    return st.builds(Phone, numbers, label=lines(max_size=12), primary=st.booleans())


def postal_addresses() -> st.SearchStrategy[PostalAddress]:
    """Postal addresses with at least one part."""
    line = lines(max_size=20)
    drawn = st.builds(
        PostalAddress, street=paragraphs(max_size=30), locality=line, postal_code=line, country=line, label=line
    )
    return drawn.filter(lambda address: address != PostalAddress())


def websites() -> st.SearchStrategy[Website]:
    """Addresses on the web, or what somebody took for one."""
    return st.builds(Website, names(), label=lines(max_size=12))


def custom_fields() -> st.SearchStrategy[CustomField]:
    """Fields of a tenant's own."""
    return st.builds(CustomField, names(), paragraphs(max_size=30))


def birthdays() -> st.SearchStrategy[str]:
    """Days with a year, without one, and none."""
    days = st.dates().map(lambda day: day.isoformat())
    return st.just("") | days | days.map(lambda day: f"-{day[4:]}") | st.just("--02-29")


def persons(*, contact_ids: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[Person]:
    """People of whom at least one name is known."""
    line = lines(max_size=20)
    return st.builds(
        Person,
        id=ids() if contact_ids is None else contact_ids,
        given_name=names(),
        family_name=line,
        additional_name=line,
        prefix=line,
        suffix=line,
        nickname=line,
        phonetic_given_name=line,
        phonetic_family_name=line,
        organisation_name=line,
        department=line,
        job_title=line,
        birthday=birthdays(),
        emails=_some(emails()),
        phones=_some(phones()),
        addresses=_some(postal_addresses()),
        websites=_some(websites()),
        tags=_some(names()),
        custom=_some(custom_fields()),
        about=paragraphs(),
        owner=ids(letter="u") | st.just(""),
        source=lines(max_size=12),
    )


def organisations(*, contact_ids: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[Organisation]:
    """Organisations that have a name."""
    return st.builds(
        Organisation,
        id=ids() if contact_ids is None else contact_ids,
        name=names(),
        emails=_some(emails()),
        phones=_some(phones()),
        addresses=_some(postal_addresses()),
        websites=_some(websites()),
        tags=_some(names()),
        custom=_some(custom_fields()),
        about=paragraphs(),
        owner=ids(letter="u") | st.just(""),
        source=lines(max_size=12),
    )


def contacts() -> st.SearchStrategy[Contact]:
    """People and organisations."""
    return persons() | organisations()


def entries(*, contact_ids: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[Entry]:
    """Things that happened with a contact."""
    return st.builds(
        Entry,
        id=ids(letter="e"),
        contact=ids() if contact_ids is None else contact_ids,
        channel=st.sampled_from(CHANNELS),
        occurred_at=_MOMENTS.map(lambda moment: moment.isoformat().replace("+00:00", "Z")),
        direction=st.sampled_from(DIRECTIONS),
        subject_line=lines(),
        body=paragraphs(),
        author=ids(letter="u") | st.just(""),
    )


def photos(*, contact_ids: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[Photo]:
    """Pictures of a few bytes, which no viewer will show."""
    return st.builds(
        Photo,
        id=ids(letter="p"),
        contact=ids() if contact_ids is None else contact_ids,
        media_type=st.sampled_from(MEDIA_TYPES),
        data=st.binary(min_size=1, max_size=64).map(lambda image: base64.b64encode(image).decode("ascii")),
    )


def exports() -> st.SearchStrategy[Exported]:
    """Contacts with their photo and history, as they leave."""

    def about(contact: Contact) -> st.SearchStrategy[Exported]:
        same = st.just(contact.id)
        return st.builds(
            Exported,
            st.just(contact),
            entries=_some(entries(contact_ids=same)),
            photo=st.none() | photos(contact_ids=same),
            created=_MOMENTS,
            updated=_MOMENTS,
        )

    return contacts().flatmap(about)


def card_numbers() -> st.SearchStrategy[str]:
    """Payment card numbers of known issuers with a right check digit, as digits only."""

    def numbers(issued: tuple[str, int]) -> st.SearchStrategy[str]:
        prefix, length = issued
        missing = length - len(prefix) - 1
        tails = st.text("0123456789", min_size=missing, max_size=missing)
        return tails.map(lambda tail: _with_check_digit(prefix + tail))

    return st.sampled_from(_CARDS + _MORE_CARDS).flatmap(numbers)


def _with_check_digit(digits: str) -> str:
    doubled = "".join(str(int(digit) * 2) for digit in digits[::-2])
    total = sum(map(int, doubled)) + sum(map(int, digits[-2::-2]))
    return digits + str(-total % 10)


def _some(items: st.SearchStrategy[T]) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(items, max_size=4).map(tuple)
