"""Inventing people: every choice comes from the `Random` passed in, so one seed always yields the same people."""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections.abc import Iterator, Sequence
from random import Random
from typing import Final

import attrs

from capsule_services.sample import CAST, Member
from capsule_services.sample.cultures import CULTURES, Culture

__all__ = ["Address", "Person", "Phone", "digits_of", "luhn", "played_by", "population"]

_DOMAINS: Final = ("example.com", "example.org", "example.net", "mail.example", "post.example", "xn--bro-hoa.example")
_ORGANISATIONS: Final = (
    "Hollow Oak Ltd",
    "Tessellate & Sons",
    "Blåbær Kaffe AS",
    "Müller, Groß & Co. KG",
    "Société L’Aubépine",
    'Fjord "Nord" Lines',
    "Níspero S.L.",
    "Ropewalk Press",
    "Lantern; Light Works",
    "Caffè Ventotto S.p.A.",
)
_DEPARTMENTS: Final = ("Purchasing", "Sales", "Workshop", "Archive", "Einkauf", "Comptabilité")
_TITLES: Final = ("Buyer", "Head of Sales", "Carpenter", "Archivist", "Geschäftsführerin", "Ingénieur")
_TAGS: Final = ("Friends", "Family", "Suppliers", "Choir", "Newsletter", "Book club", "Fair 2024")
_NOTES: Final = (
    "Met at the trade fair.\nWants the catalogue in spring, not earlier.",
    "Prefers e-mail; never call before ten.",
    'Says "the blue one, please" every time.',
    "Angebot über 1.200 € offen, bis Mitte März.",
    "Répondre à sa lettre\\carte; merci, c’est urgent…",
    "Line one, with a comma\n\nLine three; with a semicolon\tand a tab",
    "Ærlig talt – très bien, ça va! Bought 3 ½ metres of linen at 20 °C.",
    (
        "A long note, as people write them who never tidy up their address books: we spoke of the old boat, the price "
        "of varnish, the summer in Ærø and who is going to pay for the mooring; nothing was decided so far."
    ),
)
_NICKNAMES: Final = ("Bee", "Captain", "Zizi", "Tüftler", "P’tit Lou")
_ROMAN: Final = str.maketrans({"ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "œ": "oe", "ł": "l", "Ł": "L", "ı": "i"})


@attrs.frozen
class Phone:
    """A number as somebody typed it."""

    label: str
    text: str
    international: str


@attrs.frozen(kw_only=True)
class Address:
    """A postal address, in the language of its place."""

    label: str
    street: str
    city: str
    code: str
    country: str
    country_name: str


@attrs.frozen(kw_only=True)
class Person:
    """Everything an address book may know about somebody; most of it is usually missing."""

    culture: Culture
    given: str = ""
    family: str = ""
    roman: tuple[str, str] = ("", "")
    middle: str = ""
    prefix: str = ""
    nickname: str = ""
    organisation: str = ""
    department: str = ""
    title: str = ""
    emails: tuple[str, ...] = ()
    phones: tuple[Phone, ...] = ()
    addresses: tuple[Address, ...] = ()
    birthday: datetime.date | None = None
    tags: tuple[str, ...] = ()
    note: str = ""
    website: str = ""

    @property
    def family_first(self) -> bool:
        return self.culture.language in {"zh", "ja", "ko", "vi"}

    @property
    def full_name(self) -> str:
        """The name as it is spoken; an organisation without a person is called by its own."""
        parts = (self.family, self.given) if self.family_first else (self.prefix, self.given, self.middle, self.family)
        joint = "" if self.culture.language in {"zh", "ja", "ko"} else " "
        return joint.join(part for part in parts if part) or self.organisation


def digits_of(text: str) -> str:
    """Return the digits of *text*, nothing else."""
    return re.sub(r"\D", "", text)


def luhn(digits: str) -> bool:
    """Tell whether *digits* carry a right check digit (ISO/IEC 7812-1)."""
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


def population(random: Random, *, cultures: Sequence[Culture] = CULTURES, taken: set[str]) -> Iterator[Person]:
    """Yield people without end; *taken* collects their numbers and e-mail names, so that no two share one."""
    taken |= {digits_of(one.phone) for one in CAST}
    while True:
        one = _named(random, random.choice(cultures))
        places = random.choice(((), ("Home",), ("Work",), ("Home", "Work")))
        yield attrs.evolve(
            one,
            emails=tuple(_email(random, one, taken=taken) for _ in range(random.choice((1, 1, 1, 1, 2, 3)))),
            phones=tuple(_phone(random, one.culture, label=label, taken=taken) for label in _labels(random)),
            addresses=tuple(_address(random, one.culture, label=label) for label in places),
            birthday=_birthday(random) if random.randrange(3) == 0 else None,
            tags=tuple(tag for tag in _TAGS if random.randrange(5) == 0),
            note=random.choice(_NOTES) if random.randrange(4) == 0 else "",
        )


def played_by(one: Member, *, culture: Culture) -> Person:
    """Return the person whom *one* of the cast plays."""
    place = Address(
        label="Home",
        street=one.street,
        city=one.city,
        code=culture.code.replace("#", "1").replace("Z", "A"),
        country=culture.country,
        country_name=culture.country_name,
    )
    return Person(
        culture=culture,
        given=one.given_name,
        family=one.family_name,
        emails=(one.email,),
        phones=(Phone("Mobile", one.typed_phone, one.phone),),
        addresses=(place,),
        tags=("Friends",),
        note=one.note,
    )


def _named(random: Random, culture: Culture) -> Person:
    if random.randrange(25) == 0:
        return Person(culture=culture, organisation=_firm(random), website="https://www.example.com/about")
    given, family = random.choice(culture.given), random.choice(culture.family)
    employed = random.randrange(2) == 0
    return Person(
        culture=culture,
        given=given[0],
        family=family[0],
        roman=(given[1], family[1]),
        middle=random.choice(culture.given)[0] if random.randrange(8) == 0 and culture.language == "en" else "",
        prefix="Dr." if random.randrange(20) == 0 else "",
        nickname=random.choice(_NICKNAMES) if random.randrange(12) == 0 else "",
        organisation=_firm(random) if employed else "",
        department=random.choice(_DEPARTMENTS) if employed and random.randrange(3) == 0 else "",
        title=random.choice(_TITLES) if employed else "",
        website=f"https://{random.choice(_DOMAINS)}/~{_local(given[1])}" if random.randrange(6) == 0 else "",
    )


def _firm(random: Random) -> str:
    return random.choice(_ORGANISATIONS)


def _local(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.translate(_ROMAN)).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z]", "", plain)


def _email(random: Random, one: Person, *, taken: set[str]) -> str:
    given, family = (_local(name) for name in one.roman)
    stem = random.choice((f"{given}.{family}", f"{given[:1]}{family}", f"{family}-{given}")).strip(".-") or "office"
    number = 1
    while (local := stem if number == 1 else f"{stem}{number}") in taken:
        number += 1
    taken.add(local)
    shown = local.title() if random.randrange(10) == 0 else local
    return f"{shown}@{random.choice(_DOMAINS)}"


def _labels(random: Random) -> tuple[str, ...]:
    return random.choice(
        (("Mobile",), ("Mobile",), ("Mobile", "Home"), ("Work", "Mobile"), ("Mobile", "Home", "Work"), ())
    )


def _filled(random: Random, pattern: str) -> str:
    digits = re.sub("#", lambda _: str(random.randrange(10)), pattern)
    return re.sub("Z", lambda _: random.choice("ABCDEFGHKLMNPRSTUVWXY"), digits)


def _phone(random: Random, culture: Culture, *, label: str, taken: set[str]) -> Phone:
    preferred = culture.mobile if label == "Mobile" else culture.landline
    for attempt in range(1000):
        # Ranges for fiction are small: when one is used up, any other of the country will do.
        blocks = preferred if attempt < 100 else culture.mobile + culture.landline
        national = _filled(random, random.choice(blocks))
        international = "+" + culture.calling + digits_of(national)
        text = random.choice(_spellings(culture, national))
        # A number that passes for a card number would be refused, and rightly.
        mistakable = any(len(run) >= 13 and luhn(run) for run in (digits_of(text), digits_of(international)))
        if digits_of(international) not in taken and not mistakable:
            taken.add(digits_of(international))
            return Phone(label, text, international)
    raise LookupError(f"no number is left in {culture.country}")


def _spellings(culture: Culture, national: str) -> tuple[str, ...]:
    """Spell one number in the ways people type it."""
    groups = re.split(r"[ -]", national)
    first, rest = culture.trunk + groups[0], " ".join(groups[1:])
    abroad = f"+{culture.calling} {national}"
    return (
        abroad,
        abroad,
        digits_of(abroad).join(("+", "")),
        f"00{culture.calling} {national}",
        f"+{culture.calling}.{'.'.join(groups)}",
        f"+{culture.calling} ({culture.trunk}){national}" if culture.trunk == "0" else f"+{culture.calling} {national}",
        f"({first}) {rest}",
        f"{first} {rest}",
        f"{first}-{rest.replace(' ', '-')}",
        f"{first}{rest.replace(' ', '')}",
    )


def _address(random: Random, culture: Culture, *, label: str) -> Address:
    number, street = random.randrange(1, 140), random.choice(culture.streets)
    return Address(
        label=label,
        street=f"{number} {street}" if culture.number_first else f"{street} {number}",
        city=random.choice(culture.cities),
        code=_filled(random, culture.code),
        country=culture.country,
        country_name=culture.country_name,
    )


def _birthday(random: Random) -> datetime.date:
    return datetime.date(random.randrange(1938, 2006), random.randrange(1, 13), random.randrange(1, 29))
