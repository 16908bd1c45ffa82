"""Reading a journal at a place: what its heads say, and every entry in order, or nothing.

The two heads are written one after the other, and nothing is acknowledged before both are. So if one of them is cut,
altered or missing, the other one knows all that was acknowledged; if both are, nobody knows, and nothing is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs

from capsule_core.errors import CapsuleError, NewerSchema, ResourceMissing
from capsule_core.journal import Entry
from capsule_services.places.place import Place
from capsule_services.runtime.shipping.envelopes import Envelope, Head
from capsule_services.runtime.shipping.faults import ShippedDamaged, ShippedForeign

__all__ = ["HEADS", "Shipped", "read_entries", "read_heads"]

HEADS: Final = ("heads/0", "heads/1")
"""The names of the heads, in the order in which they are written."""


@attrs.frozen
class Shipped:
    """What the heads say: the newest *head*, None if there is none; *agreed* if both of them say so."""

    head: Head | None
    agreed: bool


def read_heads(place: Place, envelope: Envelope, journal: str) -> Shipped:
    """Read the heads of a *journal*.

    Raises:
        ShippedForeign: they are of another one.
        ShippedDamaged: neither can be read.
        NewerSchema: a newer version of this software wrote them.
        CapsuleError: the place does not answer.
    """
    found, wrong = list[Head](), list[CapsuleError]()
    for name in HEADS:
        try:
            found.append(envelope.open_head(place.get(envelope.folder + name)))
        except ResourceMissing:
            continue
        except (NewerSchema, ShippedDamaged, ShippedForeign) as error:
            wrong.append(error)
    if not found and wrong:
        raise wrong[0]
    newest = max(found, key=lambda head: (head.version, head.position), default=None)
    if newest is not None and newest.journal != journal:
        raise ShippedForeign(envelope.place)
    return Shipped(newest, agreed=len(found) == len(HEADS) and found[0] == found[1])


def read_entries(place: Place, envelope: Envelope, head: Head) -> Iterator[tuple[int, Entry]]:
    """Give all entries of a journal, with their positions, in order.

    Raises:
        ShippedDamaged: a piece is missing, cut, altered, or in another's place.
    """
    before = 0
    for piece in head.pieces:
        try:
            data = place.get(f"{envelope.folder}pieces/{piece.name}")
        except ResourceMissing:
            raise ShippedDamaged(envelope.place, f"pieces/{piece.name} is missing") from None
        for position, entry in envelope.open_piece(piece, data):
            before = _after(before, position, envelope.place)
            yield position, entry
    for position, entry in head.tail:
        before = _after(before, position, envelope.place)
        yield position, entry


def _after(before: int, position: int, place: str) -> int:
    if position <= before:
        raise ShippedDamaged(place, "its entries are not in order")
    return position
