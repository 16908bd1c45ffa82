"""Texts and bytes that break what was not made for them, by what they break; no two of a family break it alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

__all__ = ["FAMILIES", "MARK", "NO_TEXT", "octets", "one_of_each"]

FAMILIES: Final[Mapping[str, Sequence[str]]] = {
    "NUL": ("\0", "a\0b", "\0\0\0\0"),
    "control characters": ("\x1b]0;x\x07", "a\r\nSet-Cookie: x=1", "\x08\x7f\x85\x9b31m"),
    "marks of direction": ("\u202egpj.exe\u202c", "\u2066\u200f\u2069", "\u061c\u2067a\u2068"),
    "invisible characters": ("\u200b\u200c\u200d\u2060\ufeff", "a\u00ad\u034f\u180eb", "\U000e0001\U000e0041\ufe0f"),
    "a mebibyte": ("x" * (1 << 20), "é" * (1 << 20), "@" * (1 << 20)),
    "endless accents": ("a" + "\u0301" * 4_000, "\u1112\u1161\u11ab" * 2_000, "\ufdfa" * 1_000, "\u0e49\u0e49" * 1_000),
    "letters that look like others": ("\u0430dmin", "\uff41\uff44\uff4d", "\U0001d41a\U0001d41d", "\u0131\u017f\u00df"),
    "the ends of Unicode": ("\U0010ffff", "\ufffe\uffff\ufdd0", "\ue000\U000f0000", "\u2028\u2029\u0085"),
    "SQL": ("'; DROP TABLE records; --", '" OR ""="', "1); DELETE FROM subjects WHERE (1=1", "%_\\"),
    "formulae": ('=HYPERLINK("//x","y")', "+1+1", "-2+3+cmd|' /C calc'!A0", "@SUM(1+1)", "\t=1+1", "\r=1+1", "a;=1+1"),
    "paths": ("../../../../etc/passwd", "tenants/../../x", "..\\..\\win.ini", "%2e%2e%2f%00", "file:///etc/passwd"),
    "markup": ("<script>alert(1)</script>", "{{7*7}}${7*7}<%=7*7%>", "%s%n{0.__class__}", "]]><!ENTITY x SYSTEM 'y'>"),
    "numbers": ("9" * 5_000, "\u0663" * 40, "-1e400", "NaN"),
}
"""Some of what has broken other software, each family for another reason."""

MARK: Final = "Q" * 8
"""Stands in a message where ill-formed bytes of the same length are to be."""

NO_TEXT: Final = tuple(
    raw.ljust(len(MARK), b"Q")
    for raw in (
        b"\xed\xa0\x80",  # half a surrogate pair, the first
        b"\xed\xb0\x80",  # and the second
        b"\xed\xa0\xbd\xed\xb8\x80",  # both, each encoded by itself
        b"\xc0\x80",  # NUL, longer than need be
        b"\xc0\xaf",  # a slash, likewise
        b"\xe2\x82",  # cut off
        b"\xf4\x90\x80\x80",  # beyond the last character
        b"\xff\xfe",
    )
)
"""Bytes that are not UTF-8 (RFC 3629 section 3), as long as the mark."""


def one_of_each(turn: int) -> Iterator[tuple[str, str]]:
    """Yield of every family one text, another at each *turn*, with the name of the family."""
    for family, texts in FAMILIES.items():
        yield family, texts[turn % len(texts)]


def octets(turn: int) -> Iterator[tuple[str, bytes]]:
    """Yield the same for a field of bytes, and what is not UTF-8 besides."""
    for family, text in one_of_each(turn):
        yield family, text.encode()
    yield "no text", NO_TEXT[turn % len(NO_TEXT)]
