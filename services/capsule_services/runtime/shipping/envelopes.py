"""Envelopes: how an object of a shipped journal is sealed, and what it is made of.

::

    journal/SERVICE/ID/heads/0  heads/1     what there is, the same in both, written one after the other
    journal/SERVICE/ID/pieces/RANDOM        entries in order; written once, under a name that is never used again

*ID* is the journal's own. Each object is sealed whole with AES-256-GCM under the service's journal key, bound to its
name: nothing in it can be cut, moved or altered, and no other can stand in its place. In front stand, in the clear, a
format and the name of the key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any, Final

import attrs

from capsule_core.errors import NewerSchema, SealBroken
from capsule_core.journal import Entry, decode, encode
from capsule_core.sealing import NONCE_BYTES, open_bytes, seal_bytes
from capsule_services.runtime.shipping.faults import ShippedDamaged, ShippedForeign

__all__ = ["Envelope", "Head", "JournalKey", "Piece", "Rows", "digest_of", "folder_of", "size_of"]

_MAGIC: Final = b"capsule journal\0"
_FORMAT: Final = 1
_HEAD: Final = len(_MAGIC) + 1 + 8

Rows = Sequence[tuple[int, Entry]]
"""Entries with their positions, in order."""


@attrs.frozen
class JournalKey:
    """The key of a service's shipped journal."""

    _secret: bytes = attrs.field(repr=False, alias="secret")

    @property
    def name(self) -> bytes:
        """Eight bytes that tell which key it is, and nothing about it."""
        return self._derived(b"name")[:8]

    @property
    def sealing(self) -> bytes:
        """What objects are sealed under."""
        return self._derived(b"objects")

    def _derived(self, purpose: bytes) -> bytes:
        return hmac.digest(self._secret, b"capsule journal " + purpose, "sha256")


@attrs.frozen(kw_only=True)
class Piece:
    """An object with the entries from the position *first* to *last* that were there; *size* is what they take."""

    name: str
    first: int
    last: int
    count: int
    size: int


@attrs.frozen(kw_only=True)
class Head:
    """All of a journal up to *position*: its pieces, in order, and the entries behind the last of them.

    *version* grows with each writing; *digest* is that of the entry at *position*, by which copies know each other.
    """

    version: int
    journal: str
    position: int
    digest: str
    pieces: tuple[Piece, ...]
    tail: tuple[tuple[int, Entry], ...]


@attrs.frozen
class Envelope:
    """Seals and opens objects, whose names begin as the journal's folder does; *place* is where they are."""

    key: JournalKey
    folder: str
    place: str

    def seal_head(self, head: Head, nonce: bytes) -> bytes:
        """Seal a head; both copies are alike."""
        told = attrs.asdict(head, filter=lambda field, _: field.name != "tail")
        return self._seal("heads", {**told, "tail": _lines(head.tail)}, nonce)

    def open_head(self, data: bytes) -> Head:
        """Open what :meth:`seal_head` made.

        Raises:
            ShippedForeign: it was sealed under another key.
            ShippedDamaged: it was altered or cut, or stood elsewhere.
            NewerSchema: a newer version of this software wrote it.
        """
        told = self._open("heads", data)
        pieces, tail = (told.pop(name) for name in ("pieces", "tail"))
        return Head(**told, pieces=tuple(Piece(**piece) for piece in pieces), tail=_entries(tail))

    def seal_piece(self, name: str, rows: Rows, nonce: bytes) -> bytes:
        """Seal entries as the piece *name*."""
        return self._seal(f"pieces/{name}", _lines(rows), nonce)

    def open_piece(self, piece: Piece, data: bytes) -> Rows:
        """Open what :meth:`seal_piece` made of a piece; errors as :meth:`open_head`."""
        rows = _entries(self._open(f"pieces/{piece.name}", data))
        if (len(rows), rows[0][0], rows[-1][0]) != (piece.count, piece.first, piece.last):
            raise ShippedDamaged(self.place, f"pieces/{piece.name} holds other entries than the head says")
        return rows

    def _seal(self, what: str, told: Any, nonce: bytes) -> bytes:
        head = _MAGIC + bytes([_FORMAT]) + self.key.name
        body = json.dumps(told, separators=(",", ":")).encode()
        return head + seal_bytes(body, key=self.key.sealing, bound=self._bound(head, what), nonce=nonce)

    def _open(self, what: str, data: bytes) -> Any:
        head = data[:_HEAD]
        if len(data) < _HEAD + NONCE_BYTES or not head.startswith(_MAGIC):
            raise ShippedDamaged(self.place, f"{what} is no part of a journal")
        if head[len(_MAGIC)] > _FORMAT:
            raise NewerSchema(f"the journal at {self.place}")
        if head[len(_MAGIC) + 1 :] != self.key.name:
            raise ShippedForeign(self.place)
        try:
            return json.loads(
                open_bytes(data[_HEAD:], key=self.key.sealing, bound=self._bound(head, what), what="journal")
            )
        except SealBroken:
            raise ShippedDamaged(self.place, f"{what} was altered or cut, or belongs elsewhere") from None

    def _bound(self, head: bytes, what: str) -> bytes:
        return head + f"{self.folder}{what}".encode()


def folder_of(service: str, journal: str) -> str:
    """Name the folder of a service's journal at any place."""
    return f"journal/{service}/{journal}/"


def digest_of(entry: Entry) -> str:
    """Return what tells an entry from any other."""
    return hashlib.sha256(encode(entry)).hexdigest()


def size_of(rows: Rows) -> int:
    """Count the bytes that entries take, about."""
    return sum(len(encode(entry)) for _, entry in rows)


def _lines(rows: Rows) -> list[list[Any]]:
    return [[position, encode(entry).decode("ascii")] for position, entry in rows]


def _entries(lines: Sequence[Sequence[Any]]) -> tuple[tuple[int, Entry], ...]:
    return tuple((position, decode(line.encode())) for position, line in lines)
