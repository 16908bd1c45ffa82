"""The way from an act to the journal: committed with the act, shipped after it, and only then forgotten here.

Beside what waits stands how far the journal is here. So what a crash let be shipped without being forgotten is not
shipped twice, and a store that is older than its journal knows it, however it came to be so.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import attrs

from capsule_core.journal import Entry, Journal, Marked, Suppressed, Written, decode, encode
from capsule_sql.failures import JournalAhead
from capsule_sql.statements import EACH, Connection, Transactions, listed

__all__ = ["Bond", "Outbox", "advance", "bind", "bond", "post"]

_WAITING: Final = "SELECT no, line FROM outbox ORDER BY no"
_SHIPPED: Final = f"DELETE FROM outbox WHERE no {EACH}"
_BOND: Final = "SELECT journal, position FROM journaled"
_ADVANCE: Final = """INSERT INTO journaled (no, journal, position) VALUES (1, '', ?)
  ON CONFLICT (no) DO UPDATE SET position = excluded.position WHERE journaled.position < excluded.position"""
_BIND: Final = """INSERT INTO journaled (no, journal, position) VALUES (1, ?, ?)
  ON CONFLICT (no) DO UPDATE SET journal = excluded.journal, position = excluded.position"""
_ACTS: Final = (Marked, Suppressed, Written)
"""What comes into the journal by this way; pages and checkpoints come by others."""


@attrs.frozen
class Bond:
    """Which *journal* belongs to the data, and up to which *position* everything in it is here."""

    journal: str = ""
    position: int = 0


def post(connection: Connection, *entries: Entry) -> None:
    """Put entries into the outbox within the transaction of their act."""
    for entry in entries:
        connection.execute("INSERT INTO outbox (line) VALUES (?)", (encode(entry),))


def bond(database: Transactions) -> Bond:
    """Say which journal belongs to the data, and how far it is here."""
    rows = database.rows(_BOND, ())
    return Bond(*rows[0]) if rows else Bond()


def bind(database: Transactions, to: Bond) -> None:
    """Remember which journal belongs to the data, and how far it is here."""
    database.write(lambda connection: connection.execute(_BIND, (to.journal, to.position)))


def advance(connection: Connection, position: int) -> None:
    """Remember that everything in the journal up to *position* is here; it never goes back."""
    connection.execute(_ADVANCE, (position,))


@attrs.define(eq=False)
class Outbox:
    """Ships what was committed, in the order of commits, each act once."""

    _database: Transactions
    _journal: Journal
    _shipping: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    def ship(self, *, always: bool = False) -> None:
        """Forward, and return when the journal has settled: then what was committed so far may be acknowledged.

        Raises:
            JournalAhead: the journal knows acts that the data does not.
            Unavailable: it has not settled; shipping again finishes that.
        """
        self.forward(always=always)
        self._journal.settle()  # outside of any transaction: it may take as long as a network

    def forward(self, *, always: bool = False) -> None:
        """Append everything committed so far to the journal; *always* looks into it even if nothing waits.

        Raises:
            JournalAhead: the journal knows acts that the data does not.
        """
        with self._shipping:
            if self._database.rows(_WAITING, ()) or (always and self._database.read(self._is_told_more)):
                self._database.write(self._forward)

    def _is_told_more(self, connection: Connection) -> bool:
        return next(self._acts(connection), None) is not None

    def _forward(self, connection: Connection) -> None:
        connection.alone("outbox")
        rows = connection.execute(_WAITING).fetchall()
        waiting = [decode(line) for _, line in rows]
        left = _left(waiting, (entry for _, entry in self._acts(connection)))
        if rows:
            advance(connection, self._journal.append(left))
            connection.execute(_SHIPPED, (listed(number for number, _ in rows),))

    def arrive(self, position: int) -> None:
        """Remember that everything in the journal up to *position* is here, and forget what waits and is among it."""
        with self._shipping:
            self._database.write(lambda connection: self._forget(connection, position))

    def _forget(self, connection: Connection, position: int) -> None:
        connection.alone("outbox")
        rows = connection.execute(_WAITING).fetchall()
        told = [entry for place, entry in self._acts(connection) if place <= position] if rows else []
        waiting = [decode(line) for _, line in rows]
        known = 0
        for entry in told:
            known += known < len(waiting) and entry == waiting[known]
        connection.execute(_SHIPPED, (listed(number for number, _ in rows[:known]),))
        advance(connection, position)

    def _acts(self, connection: Connection) -> Iterator[tuple[int, Entry]]:
        """Give the acts that the journal was told after what is known to be here."""
        ((position,),) = connection.execute("SELECT coalesce(max(position), 0) FROM journaled").fetchall()
        return (each for each in self._journal.since(position) if isinstance(each[1], _ACTS))


def _left(waiting: Sequence[Entry], told: Iterable[Entry]) -> Sequence[Entry]:
    """Return what is left to ship of what waits, if the journal was *told* the beginning of it and nothing else.

    Raises:
        JournalAhead: it was told other acts.
    """
    count = 0
    for entry in told:
        if count == len(waiting) or entry != waiting[count]:
            raise JournalAhead
        count += 1
    return waiting[count:]
