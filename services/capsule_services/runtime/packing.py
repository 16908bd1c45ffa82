"""Many records in few messages: as many as a message may carry, and no more than are small to send and to keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from capsule_core.repository import A_MESSAGE

__all__ = ["PIECE", "carried", "packed"]

T = TypeVar("T")

PIECE: Final = 64 * 1024
"""How many bytes of a file go out in one message at most."""

_BYTES: Final = 2**20


def carried(asked: int) -> int:
    """Return how many records a message carries when a caller asked for *asked*; 0 is as many as may be."""
    return min(asked or A_MESSAGE, A_MESSAGE)


def packed(items: Iterable[T], size: Callable[[T], int], *, most: int = A_MESSAGE) -> Iterator[list[T]]:
    """Pack *items* in order, at most *most* and some 1 MiB by their *size* together; one that is larger goes alone."""
    load: list[T] = []
    weight = 0
    for item in items:
        weighs = size(item)
        if load and (len(load) == most or weight + weighs > _BYTES):
            yield load
            load, weight = [], 0
        load.append(item)
        weight += weighs
    if load:
        yield load
