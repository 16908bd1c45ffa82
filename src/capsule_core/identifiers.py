"""Bring what people are found by to one spelling: e-mail addresses, phone numbers, words.

Two spellings that mean the same give the same canonical text, and canonical text is its own canonical text. Nothing is
cached: what was looked up leaves no trace in the process.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Final

import attrs
import phonenumbers
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from capsule_core.personal import Form

__all__ = ["canonical", "email_problem", "identifier_problem", "mailbox", "words"]

_PLAIN_EMAIL = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_SHAPE = 'must be an e-mail address, such as "name@example.org"'
_NUMBER = 'must be a telephone number, such as "+44 20 7946 0000"'
_NATIONAL = "must begin with its country code, such as +44, or be read in a region, which is not set"
_FOREIGN = "is no telephone number of the region that is set; begin it with its country code, such as +44"
_INSIDE = re.compile(r'[\s\x00-\x1f\x7f-\x9f\ud800-\udfff"(),:;<>@\[\\\]]')
_HALVES = re.compile("[\ud800-\udfff]")
_FEWEST_DIGITS: Final = 5
_LONGEST_DOMAIN: Final = 253


def email_problem(text: str) -> str | None:
    """Say what keeps *text* from being an e-mail address, or nothing (RFC 5321 section 4.1.2, RFC 6531).

    Quoted local parts and address literals are refused: no provider gives them out, and they are two spellings of one.
    """
    if _PLAIN_EMAIL.fullmatch(text.lower()):
        return None
    local, at, domain = text.rpartition("@")
    if not (at and local and domain) or _INSIDE.search(local) or _INSIDE.search(domain):
        return _SHAPE
    if len(local.encode()) > 64:
        return "must have at most 64 bytes before the @"
    return None if _canonical_email(text) else "must have a domain name after the @"


def canonical(form: Form, text: str, *, region: str | None = None) -> str | None:
    """Return the one spelling of *text* under which it is matched, or nothing where it has none.

    *region* (ISO 3166-1 alpha-2, ``GB``) tells where a phone number without a country code is at home.
    """
    if form is Form.PHONE:
        return _canonical_phone(text, region)
    return _CANONICAL[form](text)


def identifier_problem(form: Form, text: str, *, region: str | None = None) -> str | None:
    """Say what keeps *text* from being the e-mail address or telephone number that *form* says it is, or nothing.

    What nobody can read as one could not be found by it, nor be kept out by it once it is erased.
    """
    if form is Form.TEXT:
        return None
    spelling = canonical(form, text, region=region)
    if form is Form.EMAIL:
        return None if spelling else _SHAPE
    if spelling and spelling.startswith("+"):
        return None
    if len(_digits(text)) < _FEWEST_DIGITS:
        return _NUMBER
    return _FOREIGN if region else _NATIONAL


def mailbox(text: str) -> str | None:
    """Return the mailbox that the address *text* ends up in, without what its provider is known to ignore.

    For suppression: a person who objected at ``ann@gmail.com`` is meant by ``A.n.n+shop@googlemail.com`` too.
    """
    address = _canonical_email(text)
    if address is None:
        return None
    local, _, domain = address.rpartition("@")
    provider = _PROVIDERS.get(domain)
    if provider is None:
        return address
    kept = local.partition("+")[0].translate(provider.ignored)
    return f"{kept or local}@{provider.domain or domain}"


def words(text: str) -> list[str]:
    """Split *text* into the words it is searched by, folded so that case and accents do not matter, in any script.

    Accents and optional vowel points go (Latin, Greek, Cyrillic, Arabic, Hebrew); signs that are letters stay
    (Devanagari, Thai, kana).
    """
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    folded = _IGNORED.sub("", unicodedata.normalize("NFKD", _folded(text))).translate(_LETTERS)
    return _BETWEEN.sub(_gap, folded).split()


_ASCII_WORD = re.compile(r"[a-z0-9]+")
_BETWEEN = re.compile(r"[\W_]")
_IGNORED = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\ufe20-\ufe2f"  # Latin, Greek, Cyrillic
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"  # Hebrew
    "\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed"  # Arabic
    "\u00ad\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]+"  # joiners and marks of direction
)
_LETTERS = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d"})


def _gap(found: re.Match[str]) -> str:
    return found[0] if unicodedata.category(found[0]) in ("Mn", "Mc") else " "


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    # One pass is not a fixed point: folding may undo normal form, and the reverse.
    while (again := unicodedata.normalize("NFKC", text).casefold()) != text:
        text = again
    return text


def _canonical_text(text: str) -> str | None:
    spelling = " ".join(_folded(text).split())
    return spelling if spelling and (spelling.isascii() or not _HALVES.search(spelling)) else None


def _canonical_email(text: str) -> str | None:
    lowered = text.strip().lower()
    if _PLAIN_EMAIL.fullmatch(lowered):
        return lowered
    local, _, domain = _bare(_seen(text)).rpartition("@")
    if not local or len(domain) > _LONGEST_DOMAIN or _INSIDE.search(local) or _INSIDE.search(domain):
        return None
    try:
        encoded = domain.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError:
        return None
    return f"{local}@{encoded}" if 0 < len(encoded) <= _LONGEST_DOMAIN else None


class _Unseen(dict[int, int | None]):
    """Leaves out of a text what nobody sees in it: formats, joiners, marks of direction, selectors of variants."""

    def __missing__(self, code: int) -> int | None:
        seen = unicodedata.category(chr(code)) != "Cf" and not 0xFE00 <= code <= 0xFE0F
        return code if seen else None


_UNSEEN: Final = _Unseen()
_COMMENT = re.compile(r"\([^()@]*\)")
_ANGLES = re.compile(r"([^<>]*)<([^<>]+)>")
_QUOTED = re.compile(r'"([^"\\]*)"@')


_ESCAPED = re.compile("(?:%[0-9a-f]{2})+")


def _unescaped(found: re.Match[str]) -> str:
    return bytes.fromhex(found[0].replace("%", "")).decode(errors="replace")


def _seen(text: str) -> str:
    return _folded(_folded(text).translate(_UNSEEN)).strip()


def _bare(text: str) -> str:
    """Return the address in what people write around one: a link, the name of a person, a comment, quotes, spaces."""
    if found := _ANGLES.fullmatch(text):
        named, text = found[1].strip().strip("\"'"), found[2].strip()
        if "@" in named and named != text:
            return ""  # of two addresses nobody can tell which is meant
    if text.startswith("mailto:"):
        text = _seen(_ESCAPED.sub(_unescaped, text.removeprefix("mailto:").partition("?")[0]))
    text = _COMMENT.sub("", text)
    return _QUOTED.sub(r"\1@", re.sub(r"\s*@\s*", "@", text.strip()))


def _canonical_phone(text: str, region: str | None) -> str | None:
    if plain := _already_international(text):
        return plain
    if abroad := _dialled_abroad(text):
        return abroad
    try:
        parsed = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        digits = _digits(text)
        bare = f"+{digits}" if _PLUS_BEFORE.match(text) else digits
        if bare != text:
            return _canonical_phone(bare, region)  # without what stood between them the digits may be a number
        return bare if _FEWEST_DIGITS <= len(digits) <= _LONGEST_PHONE else None
    if _is_too_long(parsed) and not _PLUS_BEFORE.match(text) and (abroad := _abroad(f"+{_digits(text)}")):
        return abroad  # only its plus is missing
    written = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    # What is left may begin with a national prefix again: a number is read until it stays as it is.
    return written if written == text else _canonical_phone(written, region)


def _digits(text: str) -> str:
    return "".join(str(unicodedata.decimal(sign)) for sign in text if sign.isdecimal())


def _dialled_abroad(text: str) -> str | None:
    """Return a number that is dialled with 00, as in most of the world, with a plus; nothing if it cannot be one."""
    if not _ZEROS_BEFORE.match(text):
        return None
    return _abroad(f"+{_digits(text)[2:]}")


def _abroad(number: str) -> str | None:
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return None
    return _canonical_phone(number, None) if phonenumbers.is_possible_number(parsed) else None


def _is_too_long(parsed: phonenumbers.PhoneNumber) -> bool:
    return phonenumbers.is_possible_number_with_reason(parsed) == phonenumbers.ValidationResult.TOO_LONG


_ZEROS_BEFORE = re.compile(r"[^\d+＋]*[0０][\W_]*[0０]")
_PLUS_BEFORE = re.compile(r"\D*[+＋]")
_INTERNATIONAL = re.compile(r"\+[1-9][0-9 ().-]{6,30}")
_BETWEEN_DIGITS: Final = str.maketrans("", "", " ().-")
_LONGEST_PHONE: Final = 15


def _already_international(text: str) -> str | None:
    """Return the digits of a number whose country code no national prefix follows: there is nothing to parse."""
    if not _INTERNATIONAL.fullmatch(text):
        return None
    number = text.translate(_BETWEEN_DIGITS)
    code = next((int(number[1:end]) for end in (2, 3, 4) if int(number[1:end]) in COUNTRY_CODE_TO_REGION_CODE), 0)
    national = number[len(str(code)) + 1 :]
    if not code or national.startswith("0") or not _FEWEST_DIGITS <= len(national) <= _LONGEST_PHONE - len(str(code)):
        return None
    prefix = _national_prefix(code)
    return None if prefix is not None and prefix.match(national) else number


@cache
def _national_prefix(code: int) -> re.Pattern[str] | None:
    region = phonenumbers.region_code_for_country_code(code)
    metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    prefix = metadata and metadata.national_prefix_for_parsing
    return re.compile(prefix) if prefix else None


_CANONICAL: Final[dict[Form, Callable[[str], str | None]]] = {Form.TEXT: _canonical_text, Form.EMAIL: _canonical_email}


@attrs.frozen
class _Provider:
    ignored: dict[int, None] = attrs.field(factory=dict)
    domain: str = ""


_PLUS = _Provider()
_GMAIL = _Provider({ord("."): None}, "gmail.com")
_PROTON = _Provider(dict.fromkeys(map(ord, "._-")))
_PROVIDERS: Final[dict[str, _Provider]] = {
    **dict.fromkeys(("gmail.com", "googlemail.com"), _GMAIL),
    **dict.fromkeys(("proton.me", "protonmail.com", "pm.me"), _PROTON),
    **dict.fromkeys(("outlook.com", "hotmail.com", "live.com", "icloud.com", "me.com", "mac.com"), _PLUS),
    **dict.fromkeys(("fastmail.com", "fastmail.fm", "yandex.com", "yandex.ru", "zoho.com", "posteo.de"), _PLUS),
}
