"""One vCard, read: from content lines to a contact and a photo."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from capsule_core.contacts import MEDIA_TYPES, CustomField, Email, Phone, Photo, PostalAddress, Website
from capsule_core.errors import InvalidField
from capsule_core.export import Refused, Row
from capsule_core.export._admission import admitted
from capsule_core.export._content_lines import ContentLine, UnreadableLine, parsed, split_value, unescaped
from capsule_core.export._labels import apple_label, label_of_types

__all__ = ["contact_of"]

_VERSION_2 = re.compile(rb"VERSION\s*:\s*2", re.IGNORECASE)
_DAY = re.compile(r"([0-9]{4}|-)-?([0-9]{2})-?([0-9]{2})(?:[T ].*)?")
_NOT_A_DAY = re.compile(r"[0-9]{4}(-?[0-9]{2})?|--[0-9]{2}|---[0-9]{2}|(?:---?[0-9]{2,4})?T.*")
_EVERYBODY: Final = "myContacts"
_ADDRESS: Final = ("po_box", "extended", "street", "locality", "region", "postal_code", "country")
_NAME: Final = ("family_name", "given_name", "additional_name", "prefix", "suffix")
_PHONETIC: Final = {
    "phonetic_given_name": "X-PHONETIC-FIRST-NAME",
    "phonetic_family_name": "X-PHONETIC-LAST-NAME",
}


def contact_of(
    lines: Sequence[bytes], number: int, *, new_id: Callable[[int], str], photo_id: Callable[[int], str]
) -> Row | Refused:
    """Make a contact of the unfolded *lines* between BEGIN and END, or say why there is none."""
    try:
        card = _card(lines)
    except UnreadableLine as error:
        return Refused(number, reason=error.reason, field="card", problem=error.problem)
    contact_id = new_id(number)
    try:
        photo = _photo(card, photo_id=lambda: photo_id(number), contact_id=contact_id)
    except InvalidField as error:
        return Refused(number, reason="PHOTO_UNREADABLE", field="photo", problem=error.problem)
    return admitted(number, contact_id, _fields(card), photo)


@attrs.frozen(kw_only=True)
class _Card:
    """The properties of a card by name, and the labels that groups of them were given."""

    properties: Mapping[str, Sequence[ContentLine]]
    labels: Mapping[str, str]
    old: bool

    def lines(self, name: str) -> Iterator[ContentLine]:
        return (line for line in self.properties.get(name, ()) if line.value)

    def text(self, *names: str) -> str:
        return next((self.plain(line.value) for name in names for line in self.lines(name)), "")

    def parts(self, name: str) -> list[str]:
        return next((split_value(line.value, ";") for line in self.lines(name)), [])

    def listed(self, name: str) -> Iterator[str]:
        return (self.plain(part) for line in self.lines(name) for part in split_value(line.value, ",") if part)

    def plain(self, value: str) -> str:
        return unescaped(value, old=self.old)

    def label(self, line: ContentLine) -> str:
        if line.group in self.labels:
            return self.labels[line.group]
        return label_of_types(line.name, line.types)

    def preferred(self, name: str) -> Iterator[tuple[ContentLine, bool]]:
        """Yield the lines of *name*, and of each whether it is the one that comes first."""
        found = list(self.lines(name))
        ranks = list(map(_rank, found))
        best = min(ranks, default=_UNRANKED)
        return zip(found, [rank == best < _UNRANKED for rank in ranks], strict=True)


def _card(lines: Iterable[bytes]) -> _Card:
    written = [line for line in lines if line.strip()]
    old = any(map(_VERSION_2.match, written))
    properties: dict[str, list[ContentLine]] = {}
    for line in written:
        found = parsed(line, old=old)
        properties.setdefault(found.name, []).append(found)
    labels = {line.group: apple_label(unescaped(line.value)) for line in properties.get("X-ABLABEL", ()) if line.group}
    return _Card(properties=properties, labels=labels, old=old)


_UNRANKED: Final = 101


def _rank(line: ContentLine) -> int:
    if any(kind.lower() == "pref" for kind in line.types):
        return 1
    stated = line.parameters.get("PREF", ("",))[0]
    return int(stated) if stated.isdecimal() and len(stated) <= 3 else _UNRANKED


def _fields(card: _Card) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "emails": tuple(_emails(card)),
        "phones": tuple(_phones(card)),
        "addresses": tuple(_addresses(card)),
        "websites": tuple(Website(card.plain(line.value), label=card.label(line)) for line in card.lines("URL")),
        "tags": tuple(tag for tag in card.listed("CATEGORIES") if tag != _EVERYBODY),
        "custom": tuple(_custom(card)),
        "about": "\n".join(card.plain(line.value) for line in card.lines("NOTE")),
    }
    reached = {email.address for email in fields["emails"]} | {phone.number.strip() for phone in fields["phones"]}
    return fields | (_organisation(card, reached) if _is_organisation(card) else _person(card, reached))


def _is_organisation(card: _Card) -> bool:
    return card.text("KIND").lower() == "org" or card.text("X-ABSHOWAS").upper() == "COMPANY"


def _organisation(card: _Card, reached: set[str]) -> dict[str, str]:
    parts = [card.plain(part) for part in card.parts("ORG") if part]
    full_name = card.text("FN")
    if full_name.strip() in reached or len(parts) == 1:
        full_name = ""
    return {"name": full_name or "".join(parts[:1])}


def _person(card: _Card, reached: set[str]) -> dict[str, str]:
    employer, *units = [card.plain(part) for part in card.parts("ORG")] or [""]
    fields = {name: _name_part(card, part) for name, part in zip(_NAME, card.parts("N"), strict=False)}
    fields |= {name: card.text(written) for name, written in _PHONETIC.items()}
    fields |= {
        "nickname": ", ".join(card.listed("NICKNAME")),
        "organisation_name": employer,
        "department": ", ".join(filter(None, units)),
        "job_title": card.text("TITLE", "ROLE"),
        "birthday": _birthday(card)[0],
    }
    called = {fields["nickname"].strip(), employer.strip(), *reached}
    full_name = card.text("FN")
    if full_name.strip() not in called and not any(fields.get(name, "").strip() for name in _NAME[:3]):
        fields["given_name"] = full_name
    return fields


def _name_part(card: _Card, part: str) -> str:
    return card.plain(part) if card.old else " ".join(map(card.plain, filter(None, split_value(part, ","))))


def _emails(card: _Card) -> Iterator[Email]:
    for line, primary in card.preferred("EMAIL"):
        address = card.plain(line.value).strip()
        yield Email(address.removeprefix("mailto:"), label=card.label(line), primary=primary)


def _phones(card: _Card) -> Iterator[Phone]:
    for line, primary in card.preferred("TEL"):
        number = card.plain(line.value)
        if "uri" in map(str.lower, line.parameters.get("VALUE", ())) and number[:4].lower() == "tel:":
            number = number[4:].replace(";ext=", " ext. ").partition(";")[0]  # RFC 3966
        yield Phone(number, label=card.label(line), primary=primary)


def _addresses(card: _Card) -> Iterator[PostalAddress]:
    for line in card.lines("ADR"):
        parts = dict(zip(_ADDRESS, map(card.plain, split_value(line.value, ";")), strict=False))
        if not any(parts.values()):
            parts = {"street": "\n".join(line.parameters.get("LABEL", ()))}
        if any(parts.values()):
            yield PostalAddress(**parts, label=card.label(line))


def _custom(card: _Card) -> Iterator[CustomField]:
    for line in card.lines("X-CAPSULE-FIELD"):
        key, *values = split_value(line.value, ";")
        yield CustomField(card.plain(key), card.plain(";".join(values)))
    if told := _birthday(card)[1]:
        yield CustomField("birthday", told)


def _birthday(card: _Card) -> tuple[str, str]:
    """Return the birthday as a day of the calendar, and as what else is told of it (``circa 1800``, a year)."""
    line = next(card.lines("BDAY"), None)
    if line is None:
        return "", ""
    text = card.plain(line.value).strip()
    if "text" in map(str.lower, line.parameters.get("VALUE", ())) or _NOT_A_DAY.fullmatch(text):
        return "", text
    if not (found := _DAY.fullmatch(text)):
        return text, ""
    year = "-" if [found[1]] == list(line.parameters.get("X-APPLE-OMIT-YEAR", ())) else found[1]
    return f"{year}-{found[2]}-{found[3]}", ""


_SIGNATURES: Final[Mapping[str, re.Pattern[bytes]]] = {
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
}


def _photo(card: _Card, *, contact_id: str, photo_id: Callable[[], str]) -> Photo | None:
    """Take the photo that a card holds; one that it only points at is not fetched.

    Raises:
        InvalidField: it is not in base64, or no image of a kind that is kept.
    """
    written = next(filter(None, map(_written_photo, card.lines("PHOTO"))), None)
    if written is None:
        return None
    stated, data = written
    try:
        octets = binascii.a2b_base64("".join(data.split()), strict_mode=True)
    except ValueError as error:
        raise InvalidField("photo", "must be in base64") from error
    seen = next((kind for kind, signature in _SIGNATURES.items() if signature.match(octets)), None)
    media_type = stated if stated in MEDIA_TYPES else seen
    if media_type is None:
        raise InvalidField("photo", "must be a JPEG, PNG, GIF or WebP image")
    data = base64.b64encode(octets).decode("ascii")
    return Photo(id=photo_id(), contact=contact_id, media_type=media_type, data=data)


def _written_photo(line: ContentLine) -> tuple[str, str] | None:
    """Return the media type that is stated and the data in base64, if the line holds a photo."""
    if line.value[:5].lower() == "data:":
        head, _, data = line.value.replace("\\", "").partition(",")
        media_type, _, encoding = head[5:].lower().rpartition(";")
        return (media_type, data) if encoding == "base64" else None
    if line.encoding != "base64":
        return None
    kind = next(iter(line.types), "").lower().removeprefix("image/")
    return f"image/{'jpeg' if kind == 'jpg' else kind}", line.value
