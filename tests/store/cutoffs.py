"""A process that ends at some call of a port: what it had not done by then it never does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from tests.core.desk import Desk

__all__ = ["CutOff", "ending_at"]


class CutOff(BaseException):
    """The process ended."""


@attrs.define
class _Counting:
    """A port whose calls are counted before they are done."""

    _part: Any
    _counted: Callable[[], None]

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if not callable(found):
            return found

        def counted(*args: Any, **kwargs: Any) -> Any:
            self._counted()
            return found(*args, **kwargs)

        return counted


def ending_at(call: int, desk: Desk) -> Desk:
    """Return the desk in a process that ends before that call of any port, from 1."""
    left = call

    def counted() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise CutOff

    return Desk(*(_Counting(each, counted) for each in (desk.store, desk.keystore, desk.journal, desk.ledger)))
