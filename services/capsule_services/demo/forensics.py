"""Look for words in every file of a folder, however they may have been written.

Raw in several encodings and any case, in hexadecimal, inside base64 and inside compressed streams, also within each
other: deleting rows hides words from a query, not from this. Bytes are looked for in the same ways, as they are.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

__all__ = ["Finding", "search", "variants"]

# The first character stands apart: so Python passes over what cannot begin a run without trying to match it.
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-][A-Za-z0-9+/_-]{15,}={0,2}")
_HEX: Final = re.compile(rb"[0-9a-fA-F][0-9a-fA-F]{15,}")
_ZLIB: Final = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
_GZIP: Final = re.compile(rb"\x1f\x8b\x08")
_ZIP: Final = re.compile(rb"PK\x03\x04")
_DEEPEST: Final = 3
_SHORTEST: Final = 16
"""Bytes: in fewer nothing that is looked for can be wrapped."""
_BRIEF: Final = 256
_MUCH: Final = 1 << 16
_BITE: Final = 1 << 12
_LONGEST: Final = 64 << 20
_ENCODINGS: Final = ("utf-8", "utf-16-le", "utf-16-be", "latin-1")


@attrs.frozen
class Finding:
    """A word, or a run of bytes, was found in a file; *how* says how it was written there."""

    path: Path
    word: str | bytes
    how: str


def search(folder: Path, words: Iterable[str | bytes]) -> list[Finding]:
    """Look for *words* in every file below *folder*; a file that somebody at work there removes meanwhile is none."""
    wanted = {spelling: word for word in words for spelling in variants(word)}
    if not wanted:
        return []
    seen = _Seen(wanted, re.compile(_any_of(wanted)))
    found: list[Finding] = []
    read: dict[bytes, set[tuple[str | bytes, str]]] = {}  # contents may lie there more than once
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        name = hashlib.sha256(content).digest()
        if name not in read:
            read[name] = seen.hits(content)
        found.extend(Finding(path, word, how or "raw") for word, how in sorted(read[name], key=repr))
    return found


@attrs.frozen
class _Seen:
    """What is looked for, and what was found in short pieces: names and numbers stand in many files."""

    wanted: Mapping[bytes, str | bytes]
    pattern: re.Pattern[bytes]
    _known: dict[tuple[bytes, int], Sequence[tuple[str | bytes, str]]] = attrs.field(factory=dict, init=False)

    def hits(self, content: bytes, depth: int = 0) -> set[tuple[str | bytes, str]]:
        """Return which words are in *content*, and how they are written there."""
        lower = content.lower()
        if len(content) > _MUCH:  # to look for one after the other is faster than for all at once, when it is worth it
            found = {(word, "") for spelling, word in self.wanted.items() if spelling in lower}
        else:
            found = {(self.wanted[hit], "") for hit in self.pattern.findall(lower)}
        if depth < _DEEPEST and len(content) >= _SHORTEST:
            for name, inner in _unwrapped(content):
                found |= {(word, f"{name}, {how}" if how else name) for word, how in self._within(inner, depth + 1)}
        return found

    def _within(self, piece: bytes, depth: int) -> Iterable[tuple[str | bytes, str]]:
        if len(piece) > _BRIEF:
            return self.hits(piece, depth)
        known = self._known.get((piece, depth))
        if known is None:
            known = self._known[piece, depth] = tuple(self.hits(piece, depth))
        return known


def _any_of(spellings: Iterable[bytes]) -> bytes:
    """Write a pattern that tries what begins alike once, so that many words cost little more than one."""
    heads: dict[bytes, set[bytes]] = {}
    for spelling in spellings:
        heads.setdefault(spelling[:1], set()).add(spelling[1:])
    ends = heads.pop(b"", None) is not None
    parts = [re.escape(head) + _any_of(rest) for head, rest in sorted(heads.items())]
    body = parts[0] if len(parts) == 1 else b"(?:" + b"|".join(parts) + b")"
    return b"(?:" + body + b")?" if ends and parts else body if parts else b""


def variants(word: str | bytes) -> frozenset[bytes]:
    """Return how *word* may stand in bytes, in lower case."""
    if isinstance(word, bytes):
        return frozenset({word.lower()})
    spellings = {word.lower(), word.casefold()}
    encoded = (_encode(spelling, encoding) for spelling in spellings for encoding in _ENCODINGS)
    return frozenset(raw for raw in encoded if raw)


def _encode(text: str, encoding: str) -> bytes:
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        return b""


def _unwrapped(content: bytes) -> Iterator[tuple[str, bytes]]:
    for run in _BASE64.findall(content):
        plain = run.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
        for shift in range(4):  # whatever stands before the run may have shifted its groups of four
            piece = plain[shift:]
            piece = piece[: len(piece) - (len(piece) % 4 == 1)]
            if len(piece) >= 12:
                yield "base64", base64.b64decode(piece + b"=" * (-len(piece) % 4))
    for run in _HEX.findall(content):
        for shift in range(2):
            yield "hexadecimal", binascii.unhexlify(run[shift : len(run) - (len(run) - shift) % 2])
    whole = memoryview(content)  # a slice of it copies nothing
    for name, pattern, window in (("zlib", _ZLIB, 15), ("gzip", _GZIP, 31)):
        for start in pattern.finditer(content):
            yield from _inflated(name, whole[start.start() :], window)
    for start in _ZIP.finditer(content):
        yield from _zipped(whole[start.start() :])


def _zipped(member: memoryview) -> Iterator[tuple[str, bytes]]:
    if len(member) >= 30:
        offset = 30 + int.from_bytes(member[26:28], "little") + int.from_bytes(member[28:30], "little")
        yield from _inflated("zip", member[offset:], -15)


def _inflated(name: str, stream: memoryview, window: int) -> Iterator[tuple[str, bytes]]:
    inflate = zlib.decompressobj(window)
    try:
        content = inflate.decompress(stream[:_BITE])  # what is none fails at once, and would be copied to its end
        content += inflate.decompress(stream[_BITE:], _LONGEST) if len(stream) > _BITE and not inflate.eof else b""
    except zlib.error:
        return
    if content:
        yield name, content
