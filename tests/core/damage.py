"""What happens to files on their way, and what a reader may say to it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable, Iterator

import attrs
from hypothesis import strategies as st

from capsule_core.errors import InvalidField
from capsule_core.export import Refused, Row

Reader = Callable[[Iterable[bytes]], Iterator[Row | Refused]]

GIBIBYTE = 2**30
MEBIBYTE = 2**20


@attrs.frozen
class Outcome:
    """Everything a reader said, and the error it ended with, if any."""

    said: list[Row | Refused]
    error: InvalidField | None

    @property
    def rows(self) -> list[Row]:
        return [each for each in self.said if isinstance(each, Row)]

    @property
    def refused(self) -> dict[int, str]:
        return {each.number: each.reason for each in self.said if isinstance(each, Refused)}


def outcome(read: Reader, chunks: Iterable[bytes]) -> Outcome:
    """Read to the end; the only error a file may raise is one about the file."""
    said: list[Row | Refused] = []
    try:
        said.extend(read(chunks))
    except InvalidField as error:
        assert error.field == "file"
        return Outcome(said, error)
    return Outcome(said, None)


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def flipped(data: bytes) -> st.SearchStrategy[bytes]:
    """*data* with some bits of it turned."""

    def turned(flips: list[tuple[int, int]]) -> bytes:
        damaged = bytearray(data)
        for place, bit in flips:
            damaged[place] ^= 1 << bit
        return bytes(damaged)

    flips = st.tuples(st.integers(0, len(data) - 1), st.integers(0, 7))
    return st.lists(flips, min_size=1, max_size=8).map(turned)


def endless_line(*, before: bytes = b"", after: bytes = b"", size: int = 2 * GIBIBYTE) -> Iterator[bytes]:
    """A line of *size* bytes, in pieces."""
    piece = b"x" * MEBIBYTE
    yield before
    for _ in range(size // MEBIBYTE):
        yield piece
    yield after


def peak_memory(work: Callable[[], object]) -> int:
    """How many bytes *work* had in its hands at most."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
