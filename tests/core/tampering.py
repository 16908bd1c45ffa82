"""A log as two tables, leaves by number and frontiers by size, and every way in which somebody may tamper with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from capsule_core.merkle import BLOCK, Frontier


@attrs.define
class Found:
    """The tables of a log; it is evidence for an inspection as they are."""

    leaves: dict[int, bytes]
    frontiers: dict[int, bytes]

    @classmethod
    def of(cls, data: Sequence[bytes]) -> Found:
        """The tables of an honest log."""
        return cls(dict(enumerate(data)), noted(data))

    def extent(self) -> tuple[int, bytes, int]:
        newest = max(self.frontiers, default=0)
        return newest, self.frontiers.get(newest, b""), max(self.leaves, default=-1) + 1

    def read(self, start: int, until: int) -> Sequence[bytes]:
        return [self.leaves[number] for number in sorted(self.leaves) if start <= number < until]

    def noted(self, after: int, until: int) -> Sequence[tuple[int, bytes]]:
        return [(size, self.frontiers[size]) for size in sorted(self.frontiers) if after < size <= until]

    def gap(self, start: int, until: int) -> int:
        return next((number for number in range(start, until) if number not in self.leaves), until)

    def put(self, data: Sequence[bytes]) -> None:
        self.leaves = dict(enumerate(data))


def noted(data: Sequence[bytes]) -> dict[int, bytes]:
    """What a log notes: its frontier every 256 leaves, and now."""
    sizes = [*range(BLOCK, len(data), BLOCK), *([len(data)] if data else [])]
    return {size: Frontier().append(data[:size]).encode() for size in sizes}


def _listed(found: Found) -> list[bytes]:
    return [found.leaves[number] for number in sorted(found.leaves)]


def edit(found: Found, at: int) -> None:
    found.leaves[at] += b"!"


def swap(found: Found, at: int) -> None:
    other = (at + 1) % len(found.leaves)
    found.leaves[at], found.leaves[other] = found.leaves[other], found.leaves[at]


def move(found: Found, at: int) -> None:
    data = _listed(found)
    data.append(data.pop(at))
    found.put(data)


def take_out(found: Found, at: int) -> None:
    del found.leaves[at]


def take_out_and_close_the_gap(found: Found, at: int) -> None:
    data = _listed(found)
    del data[at]
    found.put(data)


def put_in(found: Found, at: int) -> None:
    data = _listed(found)
    data.insert(at, b"never happened")
    found.put(data)


def cut_off(found: Found, at: int) -> None:
    found.put(_listed(found)[:at])


LEAVES: dict[str, Callable[[Found, int], None]] = {
    each.__name__: each for each in (edit, swap, move, take_out, take_out_and_close_the_gap, put_in, cut_off)
}
"""Each way to tamper with the leaves, at one of them."""


def leave(found: Found) -> None:
    assert found.frontiers is not None


def rewrite(found: Found) -> None:
    """Note everything anew, so that the log agrees with itself; what has a gap cannot."""
    if sorted(found.leaves) == list(range(len(found.leaves))):
        found.frontiers = noted(_listed(found))


def forget(found: Found) -> None:
    """Take out every note."""
    found.frontiers = {}


def garble(found: Found) -> None:
    """Write something into every note."""
    found.frontiers = {size: encoded[:-1] + b"?" for size, encoded in found.frontiers.items()}


NOTES: dict[str, Callable[[Found], None]] = {each.__name__: each for each in (leave, rewrite, forget, garble)}
"""Each way to tamper with what the log notes of itself, to hide what was done to its leaves."""


def first_wrong(found: Found, honest: Sequence[bytes]) -> int:
    """The first number at which there is not the honest leaf."""
    return next((at for at, data in enumerate(honest) if found.leaves.get(at) != data), len(honest))
