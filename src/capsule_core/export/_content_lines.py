"""The content lines of which vCards are made: folding, parameters, values (RFC 6350 section 3; RFC 2426; vCard 2.1)."""

from __future__ import annotations

import codecs
import quopri
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

import attrs

from capsule_core.export._lines import control_character

__all__ = [
    "LIMIT",
    "LIMIT_OF_MEDIA",
    "WIDTH",
    "ContentLine",
    "UnreadableLine",
    "escaped",
    "folded",
    "parsed",
    "split_value",
    "unescaped",
    "unfolded",
]

LIMIT: Final = 2**20
LIMIT_OF_MEDIA: Final = 8 * 2**20
WIDTH: Final = 75
_FOLD: Final = (b" ", b"\t")
_MEDIA = re.compile(rb"(?:[\w.-]{1,80}\.)?(?:PHOTO|LOGO|SOUND|KEY)[;:]", re.IGNORECASE)
_SOFT_BREAK = re.compile(rb"[^:]{0,300}QUOTED-PRINTABLE[^:]{0,300}:", re.IGNORECASE)
_BOUNDARY = re.compile(rb"(?:BEGIN|END)\s*:", re.IGNORECASE)
_QUOTING_HEAD = re.compile(rb'((?:[^":]++|"[^"]*+")*+):')
_PARAMETER = re.compile(r'(?:[^";]++|"[^"]*+"|")++')
_PARAMETER_VALUE = re.compile(r'(?:[^",]++|"[^"]*+"|")++')
_CIRCUMFLEX = re.compile(r"\^([n^'])")
_CIRCUMFLEX_MEANS: Final = {"n": "\n", "^": "^", "'": '"'}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_TOKEN = re.compile(r"\\.|[^\\,;]++|[,;\\]", re.DOTALL)
_ENCODINGS: Final = {"quoted-printable": "quoted-printable", "base64": "base64", "b": "base64", "7bit": "", "8bit": ""}
_CHARSETS: Final = frozenset(
    {
        *("utf-8", "ascii", "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258"),
        *(f"iso8859-{part}" for part in range(1, 17)),
        *("koi8-r", "koi8-u", "shift_jis", "cp932", "euc_jp", "iso2022_jp", "gb2312", "gbk", "gb18030", "big5"),
        *("euc_kr", "cp949", "tis-620", "mac-roman", "utf-16", "utf-16-le", "utf-16-be"),
    }
)


@attrs.frozen
class UnreadableLine(Exception):
    """A content line that says nothing for certain: its *reason* for machines, its *problem* for people."""

    reason: str
    problem: str


@attrs.frozen(kw_only=True)
class ContentLine:
    """One property: ``group.NAME;PARAMETER=value,value:value``; *value* is decoded, but its backslashes still stand."""

    group: str
    name: str
    parameters: Mapping[str, Sequence[str]]
    value: str

    @property
    def types(self) -> Sequence[str]:
        """All values of TYPE, however they were written."""
        return self.parameters.get("TYPE", ())

    @property
    def encoding(self) -> str:
        """``base64``, ``quoted-printable`` (the value is decoded already) or nothing."""
        named = self.parameters.get("ENCODING", ("",))[0].lower()
        return _ENCODINGS.get(named, named)


def unfolded(found: Iterable[bytes | None]) -> Iterator[bytes | None]:
    """Join lines that were folded, or broken softly in quoted-printable; what is longer than its limit yields None."""
    held: bytearray | None = None
    soft = too_long = False
    for line in found:
        if held is not None and line is not None and (line.startswith(_FOLD) or (soft and not _BOUNDARY.match(line))):
            held[len(held) - soft :] = line if soft else line[1:]
        else:
            if held is not None:
                yield None if too_long else bytes(held)
            held, too_long = bytearray(line or b""), line is None
        soft = held.endswith(b"=") and _SOFT_BREAK.match(held) is not None
        if len(held) > LIMIT and (len(held) > LIMIT_OF_MEDIA or not _MEDIA.match(held)):
            too_long = True
            held.clear()
    if held is not None:
        yield None if too_long else bytes(held)


def parsed(line: bytes, *, old: bool) -> ContentLine:
    """Take a line apart; *old* lines are those of vCard 2.1, which may be in Windows-1252 without saying so.

    Raises:
        UnreadableLine: it has no colon, or its bytes are not in the encoding that it names or must have.
    """
    written, colon, value = line.partition(b":")
    if written.count(b'"') % 2 and (found := _QUOTING_HEAD.match(line)):
        written, value = found[1], line[found.end() :]
    if not colon:
        raise UnreadableLine("LINE_MALFORMED", "has a line without a colon")
    head = _text(written, "utf-8", old=old)
    name, *parts = _PARAMETER.findall(head) if '"' in head else head.split(";")
    group, _, name = name.strip().rpartition(".")
    parameters = _parameters(parts)
    return ContentLine(
        group=group.upper(), name=name.upper(), parameters=parameters, value=_value(value, parameters, old=old)
    )


def split_value(text: str, separator: str) -> list[str]:
    """Split a value at each *separator* (``;`` or ``,``) that no backslash escapes."""
    if "\\" not in text:
        return text.split(separator)
    parts: list[list[str]] = [[]]
    for token in _TOKEN.findall(text):
        if token == separator:
            parts.append([])
        else:
            parts[-1].append(token)
    return ["".join(part) for part in parts]


def unescaped(text: str, *, old: bool = False) -> str:
    """Take the backslashes out of a value; in vCard 2.1 they escape signs, and make no line feeds."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(_sign if old else _sign_or_line_feed, text)


def escaped(text: str) -> str:
    """Escape a text that is a value, or a part of one (RFC 6350 section 3.4)."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace(",", "\\,").replace(";", "\\;")


def folded(line: str) -> str:
    """Break *line* into lines of at most 75 octets, never inside a character (RFC 6350 section 3.2)."""
    octets = line.encode()
    if len(octets) <= WIDTH:
        return line
    rows = []
    start, end = 0, WIDTH
    while end < len(octets):
        while octets[end] & 0xC0 == 0x80:
            end -= 1
        rows.append(octets[start:end])
        start, end = end, end + WIDTH - 1
    return b"\r\n ".join((*rows, octets[start:])).decode()


def _sign(found: re.Match[str]) -> str:
    return found[1] if found[1] in "\\;,:" else found[0]


def _sign_or_line_feed(found: re.Match[str]) -> str:
    return "\n" if found[1] in "nN" else found[1]


def _parameters(parts: Iterable[str]) -> Mapping[str, Sequence[str]]:
    parameters: dict[str, list[str]] = {}
    for part in parts:
        key, equals, text = part.partition("=")
        key = key.strip().upper()
        if not equals:
            key, text = "ENCODING" if key.lower() in _ENCODINGS else "TYPE", key
        parameters.setdefault(key, []).extend(_parameter_values(key, text))
    return parameters


def _parameter_values(key: str, text: str) -> Iterable[str]:
    if '"' not in text or key == "TYPE":  # some write TYPE="voice,home" and mean two types
        values = text.replace('"', "").split(",")
    else:
        values = [value.replace('"', "") for value in _PARAMETER_VALUE.findall(text)]
    return (_CIRCUMFLEX.sub(_uncircumflexed, value.strip()) for value in values)  # RFC 6868


def _uncircumflexed(found: re.Match[str]) -> str:
    return _CIRCUMFLEX_MEANS[found[1]]


def _value(value: bytes, parameters: Mapping[str, Sequence[str]], *, old: bool) -> str:
    if parameters.get("ENCODING", ("",))[0].lower() == "quoted-printable":
        value = quopri.decodestring(value)
    named = parameters.get("CHARSET", ("",))[0]
    text = _text(value, _charset(named) if named else "utf-8", old=old and not named)
    if problem := control_character(text):
        raise UnreadableLine("CONTROL_CHARACTER", problem)
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _text(octets: bytes, encoding: str, *, old: bool) -> str:
    try:
        return octets.decode(encoding)
    except UnicodeDecodeError as error:
        if old:
            return _text(octets, "cp1252", old=False)
        raise UnreadableLine("ENCODING", f"has a line that is not valid {encoding}") from error


def _charset(named: str) -> str:
    known = ""
    if named.isascii() and named.isprintable():
        with suppress(LookupError):
            known = codecs.lookup(named).name
    if known not in _CHARSETS:
        raise UnreadableLine("ENCODING", "names a character set that is not known here")
    return known
