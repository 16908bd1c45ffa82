"""The leaves of a log in a table: of changes beside the records, of reads apart from them.

Where one writes at a time, a leaf gets its number in its act's own transaction. Where many do, that would make them
wait for each other: acts leave their leaves among the ``arrivals``, and whoever asks for the head numbers those first.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import attrs

from capsule_core.errors import InvalidField, LedgerBroken
from capsule_core.merkle import BLOCK, Frontier
from capsule_sql.statements import EACH, Connection, Transactions, listed

__all__ = ["SqlLedger", "append", "bear"]

_BEFORE_ALL: Final = -1
_SMALL: Final = bytes(256)
_LARGE: Final = bytes(8192)
"""More than a page: a file that may not grow has no room for it, whatever else still fits."""
_ARRIVED: Final = "SELECT no, leaf FROM arrivals ORDER BY no LIMIT 4096"


@attrs.define(eq=False)
class SqlLedger:
    """A ledger store; appends of many threads share a commit."""

    _database: Transactions

    def append(self, leaves: Sequence[bytes]) -> Frontier:
        """Add the data of *leaves* to the end; return the frontier after them."""
        if not leaves:
            return self.head()

        def body(connection: Connection) -> Frontier:
            _number(connection)
            return append(connection, leaves)

        return self._database.write(body)

    def read(self, start: int, limit: int) -> Sequence[bytes]:
        """Return the data of up to *limit* leaves from *start* on."""
        self._number()
        return self._database.read(lambda connection: _read(connection, start, limit))

    def head(self) -> Frontier:
        """Return the frontier after all leaves."""
        self._number()
        return self._database.read(_head)

    def at(self, size: int) -> Frontier:
        """Return the frontier as it was after the first *size* leaves.

        Raises:
            InvalidField: there are not so many.
        """
        return self._database.read(lambda connection: _at(connection, size))

    def keep(self, checkpoint: str) -> None:
        """Remember a signed checkpoint."""
        upsert = "INSERT INTO checkpoints (no, note) VALUES (1, ?) ON CONFLICT (no) DO UPDATE SET note = excluded.note"
        self._database.write(lambda connection: connection.execute(upsert, (checkpoint,)))

    def latest(self) -> str | None:
        """Return the signed checkpoint that was kept last."""
        rows = self._database.rows("SELECT note FROM checkpoints", ())
        return str(rows[0][0]) if rows else None

    def rehearse(self) -> None:
        """Write a leaf in a transaction that takes it back: whoever can do that can append. Nothing of it is left.

        Raises:
            CapsuleError: nothing can be written.
        """
        with suppress(_Enough):
            self._database.write(_rehearse)

    def _number(self) -> None:
        """Give the leaves of every act that has returned their places."""
        if self._database.shared and self._database.rows("SELECT 1 FROM arrivals LIMIT 1", ()):
            self._database.write(_number)


class _Enough(Exception):
    """What was to be found out is found out; undo it."""


def _rehearse(connection: Connection) -> None:
    if connection.shared:  # a server tells only of what is committed whether it could be kept
        insert = "INSERT INTO arrivals (leaf) VALUES (?) RETURNING no"
        rows = connection.execute(insert, (_SMALL,)).fetchall()
        connection.execute(f"DELETE FROM arrivals WHERE no {EACH}", (listed(number for (number,) in rows),))
    else:
        connection.execute("INSERT INTO leaves (no, data) VALUES (?, ?)", (_BEFORE_ALL, _LARGE))
        raise _Enough


def bear(connection: Connection, leaf: bytes) -> None:
    """Add the leaf of an act within its transaction."""
    if connection.shared:
        connection.execute("INSERT INTO arrivals (leaf) VALUES (?)", (leaf,))
    else:
        append(connection, [leaf])


def _number(connection: Connection) -> None:
    connection.alone("ledger")
    if not connection.shared:
        return
    while arrived := connection.execute(_ARRIVED).fetchall():
        append(connection, [leaf for _, leaf in arrived])
        connection.execute(f"DELETE FROM arrivals WHERE no {EACH}", (listed(number for number, _ in arrived),))


def append(connection: Connection, leaves: Sequence[bytes]) -> Frontier:
    """Add leaves within somebody's transaction, in which nobody else adds any; return the frontier after them."""
    frontier = _head(connection)
    numbered = list(enumerate(leaves, start=frontier.size))
    connection.executemany("INSERT INTO leaves (no, data) VALUES (?, ?)", numbered)
    rest = list(leaves)
    while rest:
        before = frontier.size
        room = BLOCK - before % BLOCK
        frontier = frontier.append(rest[:room])
        rest = rest[room:]
        if before % BLOCK:
            update = "UPDATE frontiers SET size = ?, frontier = ? WHERE size = ?"
            connection.execute(update, (frontier.size, frontier.encode(), before))
        else:
            insert = "INSERT INTO frontiers (size, frontier) VALUES (?, ?)"
            connection.execute(insert, (frontier.size, frontier.encode()))
    return frontier


def _head(connection: Connection) -> Frontier:
    row = connection.execute("SELECT frontier FROM frontiers ORDER BY size DESC LIMIT 1").fetchone()
    return Frontier() if row is None else Frontier.decode(row[0])


def _at(connection: Connection, size: int) -> Frontier:
    nearest = "SELECT frontier FROM frontiers WHERE size <= ? ORDER BY size DESC LIMIT 1"
    row = connection.execute(nearest, (size,)).fetchone()
    frontier = Frontier() if row is None else Frontier.decode(row[0])
    if not 0 <= size <= _head(connection).size:
        raise InvalidField("size", "must be at most the number of leaves")
    missing = _read(connection, frontier.size, size - frontier.size)
    if len(missing) != size - frontier.size:
        raise LedgerBroken(frontier.size + len(missing), "it is missing")
    return frontier.append(missing)


def _read(connection: Connection, start: int, limit: int) -> list[bytes]:
    select = "SELECT data FROM leaves WHERE no >= ? ORDER BY no LIMIT ?"
    found = [data for (data,) in connection.execute(select, (start, limit))]
    strange = next((number for number, data in enumerate(found, start) if not isinstance(data, bytes)), None)
    if strange is not None:  # SQLite keeps whatever somebody puts there
        raise LedgerBroken(strange, "it is no leaf")
    return found
