"""The way from an act to the journal: committed with the act, shipped after it, and only then forgotten here."""

from __future__ import annotations

import sqlite3
import threading

import attrs

from capsule_core.journal import Entry, Journal, decode, encode
from capsule_sql.database import Database

__all__ = ["Outbox", "post"]


def post(connection: sqlite3.Connection, entry: Entry) -> None:
    """Put an entry into the outbox within the transaction of its act."""
    connection.execute("INSERT INTO outbox (line) VALUES (?)", (encode(entry),))


@attrs.define(eq=False)
class Outbox:
    """Ships what was committed, in the order of commits; a crash in between ships it again, which changes nothing."""

    _database: Database
    _journal: Journal
    _shipping: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    def ship(self) -> None:
        """Return when everything committed so far is in the journal."""
        with self._shipping:
            rows = self._database.read(_waiting)
            if rows:
                self._journal.append([decode(line) for _, line in rows])
                shipped = [(number,) for number, _ in rows]
                self._database.write(
                    lambda connection: connection.executemany("DELETE FROM outbox WHERE no = ?", shipped)
                )


def _waiting(connection: sqlite3.Connection) -> list[tuple[int, bytes]]:
    return connection.execute("SELECT no, line FROM outbox ORDER BY no").fetchall()
