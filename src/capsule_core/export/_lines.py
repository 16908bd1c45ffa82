"""Cut a stream of bytes into lines of UTF-8, in bounded memory whatever comes."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

__all__ = ["control_character", "lines", "utf8"]

_NEVER_UTF8: Final = b"\xff"
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def control_character(text: str) -> str | None:
    """Say which character in *text* no address book has in it, or nothing if all is well."""
    found = None if text.isprintable() else _CONTROL.search(text)
    return f"contains the control character U+{ord(found[0]):04X}" if found else None


def lines(chunks: Iterable[bytes], *, limit: int) -> Iterator[bytes | None]:
    """Yield each line without its end (LF or CR LF); a line longer than *limit* bytes yields None instead."""
    held = bytearray()
    too_long = False
    for chunk in chunks:
        start, *others = chunk.split(b"\n")
        held += start
        for line in others:
            yield None if too_long or len(held) > limit else bytes(held).removesuffix(b"\r")
            too_long = False
            held = bytearray(line)
        if len(held) > limit:
            too_long = True
            held.clear()
    if too_long or held:
        yield None if too_long else bytes(held).removesuffix(b"\r")


def utf8(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Turn UTF-16 that begins with a byte order mark into UTF-8 that does; leave anything else as it is.

    What cannot be turned is no UTF-8 afterwards either, and is refused by whoever decodes the line in which it stands.
    """
    rest = iter(chunks)
    head = b""
    for chunk in rest:
        head += chunk
        if len(head) >= len(codecs.BOM_UTF16):
            break
    if not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        yield head
        yield from rest
        return
    yield codecs.BOM_UTF8
    decoder = codecs.getincrementaldecoder("utf-16")("surrogatepass")
    for chunk in chain([head], rest):
        yield decoder.decode(chunk).encode("utf-8", "surrogatepass")
    if decoder.getstate()[0]:
        yield _NEVER_UTF8
