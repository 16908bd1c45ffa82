"""Tiny portraits, 8 by 8 pixels of one colour, made from bytes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import Final

__all__ = ["Colour", "jpeg", "png"]

Colour = tuple[int, int, int]
_SIDE: Final = 8


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(colour: Colour) -> bytes:
    """Return a PNG (ISO 15948), its data stored without compression so that every zlib writes the same bytes."""
    pixels = (b"\0" + bytes(colour) * _SIDE) * _SIDE
    stored = b"\x78\x01\x01" + struct.pack("<HH", len(pixels), len(pixels) ^ 0xFFFF) + pixels
    body = stored + struct.pack(">I", zlib.adler32(pixels))
    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _packed(bits: str) -> bytes:
    whole = bits + "1" * (-len(bits) % 8)
    return b"".join(bytes([int(whole[at : at + 8], 2)]) for at in range(0, len(whole), 8)).replace(b"\xff", b"\xff\0")


def _block(level: int) -> str:
    """Code one flat block: the category of its DC coefficient in four bits, the coefficient, end of block."""
    size = abs(level).bit_length()
    coefficient = level if level >= 0 else level + (1 << size) - 1
    return f"{size:04b}" + (f"{coefficient:0{size}b}" if size else "") + "0"


def _planes(colour: Colour) -> Iterable[int]:
    red, green, blue = colour
    yield round(0.299 * red + 0.587 * green + 0.114 * blue) - 128
    yield round(-0.1687 * red - 0.3313 * green + 0.5 * blue)
    yield round(0.5 * red - 0.4187 * green - 0.0813 * blue)


def jpeg(colour: Colour) -> bytes:
    """Return a baseline JPEG (ITU-T T.81) of a single block per component."""
    frame = struct.pack(">BHHB", 8, _SIDE, _SIDE, 3) + b"".join(bytes([part, 0x11, 0]) for part in (1, 2, 3))
    dc_codes = b"\x00" + bytes([0, 0, 0, 12]) + bytes(12) + bytes(range(12))
    ac_codes = b"\x10" + bytes([1]) + bytes(15) + b"\x00"
    scan = bytes([3, 1, 0, 2, 0, 3, 0, 0, 63, 0])
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
            _segment(0xDB, b"\0" + bytes([8]) * 64),
            _segment(0xC0, frame),
            _segment(0xC4, dc_codes + ac_codes),
            _segment(0xDA, scan),
            _packed("".join(_block(level) for level in _planes(colour))),
            b"\xff\xd9",
        )
    )
