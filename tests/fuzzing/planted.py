"""A target that is broken, so that it can be seen that what is broken is found."""

from __future__ import annotations

from typing import Final

from tests.fuzzing.target import Target

__all__ = ["PLANTED"]


def _stumble(data: bytes) -> None:
    if data[:1] == b"C" and data[1:2] == b"A" and data[2:3] == b"P":
        raise ZeroDivisionError


PLANTED: Final = Target(name="planted", take=_stumble, parsers=(), samples=lambda: [b"C", b"other"], runs=50_000)
