"""A log in a table as an inspection finds it: read by whoever may not trust it, and never written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from capsule_sql.statements import Transactions

__all__ = ["SqlEvidence"]

_DATA: Final = "/*lite*/CASE typeof(data) WHEN 'blob' THEN data ELSE x'' END/*end*//*pg data*/"
"""SQLite keeps a text in a column of bytes, if somebody puts one there: no leaf is empty."""
_FRONTIER: Final = "/*lite*/CASE typeof(frontier) WHEN 'blob' THEN frontier ELSE x'' END/*end*//*pg frontier*/"
_EXTENT: Final = (
    "SELECT coalesce(f.size, 0), coalesce(f.frontier, ?), coalesce((SELECT max(no) FROM leaves), -1) + 1"
    " FROM (SELECT 1) one LEFT JOIN (SELECT size, "
    + _FRONTIER
    + " AS frontier FROM frontiers ORDER BY size DESC LIMIT 1) f ON 1 = 1"
)
_LEAVES: Final = f"SELECT {_DATA} FROM leaves WHERE no >= ? AND no < ? ORDER BY no"
_NUMBERS: Final = "SELECT no FROM leaves WHERE no >= ? AND no < ? ORDER BY no"
_NOTED: Final = f"SELECT size, {_FRONTIER} FROM frontiers WHERE size > ? AND size <= ? ORDER BY size"


@attrs.define(eq=False)
class SqlEvidence:
    """The log in a database, for ``capsule_core.inspection``."""

    _database: Transactions

    def extent(self) -> tuple[int, bytes, int]:
        """Return of how many leaves its newest frontier speaks, that frontier, and the number behind its last leaf."""
        ((size, frontier, reach),) = self._database.rows(_EXTENT, (b"",))
        return size, frontier, reach

    def read(self, start: int, until: int) -> Sequence[bytes]:
        """Return the leaves of these numbers, as far as they are there."""
        return [data for (data,) in self._database.rows(_LEAVES, (start, until))]

    def noted(self, after: int, until: int) -> Sequence[tuple[int, bytes]]:
        """Return the frontiers that were noted at these sizes."""
        return self._database.rows(_NOTED, (after, until))

    def gap(self, start: int, until: int) -> int:
        """Return the first of these numbers that has no leaf."""
        numbers = self._database.rows(_NUMBERS, (start, until))
        return next((wanted for wanted, (found,) in enumerate(numbers, start) if wanted != found), start + len(numbers))
