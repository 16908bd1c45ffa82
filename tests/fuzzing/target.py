"""A way in from outside: what takes the bytes, what it may raise, what it begins from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import attrs

__all__ = ["REGRESSIONS", "Drawn", "Target"]

REGRESSIONS: Final = Path(__file__).parent / "regressions"
"""What once broke a target, in a folder of its name: replayed by every run."""


@attrs.frozen(kw_only=True)
class Target:
    """A way in from outside.

    *take* gives the bytes to *parsers* of the product and asserts what must hold of what they say; it may raise
    *raises* and nothing else. *samples* makes real input, some of which is taken. *longest* is how many bytes are tried
    at most, *runs* how many inputs in a short run.
    """

    name: str
    take: Callable[[bytes], None]
    parsers: tuple[Callable[..., Any], ...]
    samples: Callable[[], Iterable[bytes]]
    raises: tuple[type[Exception], ...] = ()
    longest: int = 4096
    runs: int = 1000

    def takes(self, data: bytes) -> bool:
        """Try *data*; tell whether it was taken, and not refused in one of the ways that are allowed."""
        try:
            self.take(data)
        except self.raises:
            return False
        return True

    def seeds(self) -> list[bytes]:
        """Return what to begin from: real samples, and what once broke it."""
        broke = sorted((REGRESSIONS / self.name).glob("*.bin"))
        return [*self.samples(), *(path.read_bytes() for path in broke)]


@attrs.define
class Drawn:
    """Bytes, taken apart into what a parser with more than one argument needs; when they run out, it is nothing."""

    left: bytes

    def octets(self, count: int) -> bytes:
        taken, self.left = self.left[:count], self.left[count:]
        return taken

    def number(self, below: int = 256) -> int:
        """Take a number from 0 up to, not including, *below*."""
        return int.from_bytes(self.octets((below.bit_length() + 7) // 8), "big") % below

    def part(self) -> bytes:
        """Take a part that says its length in the byte before it."""
        return self.octets(self.number())

    def text(self) -> str:
        """Take all that is left as text; what is not UTF-8 becomes halves of surrogate pairs."""
        return self.octets(len(self.left)).decode("utf-8", "surrogateescape")
