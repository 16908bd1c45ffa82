"""The way from an act to the journal: committed with the act, shipped after it, and only then forgotten here."""

from __future__ import annotations

import threading

import attrs

from capsule_core.journal import Entry, Journal, decode, encode
from capsule_sql.statements import EACH, Connection, Transactions, listed

__all__ = ["Outbox", "post"]

_WAITING = "SELECT no, line FROM outbox ORDER BY no"
_SHIPPED = f"DELETE FROM outbox WHERE no {EACH}"


def post(connection: Connection, entry: Entry) -> None:
    """Put an entry into the outbox within the transaction of its act."""
    connection.execute("INSERT INTO outbox (line) VALUES (?)", (encode(entry),))


@attrs.define(eq=False)
class Outbox:
    """Ships what was committed, in the order of commits; a crash in between ships it again, which changes nothing."""

    _database: Transactions
    _journal: Journal
    _shipping: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    def ship(self) -> None:
        """Return when everything committed so far is in the journal."""
        with self._shipping:
            if self._database.rows(_WAITING, ()):
                self._database.write(self._forward)

    def _forward(self, connection: Connection) -> None:
        connection.alone("outbox")
        rows = connection.execute(_WAITING).fetchall()
        self._journal.append([decode(line) for _, line in rows])
        connection.execute(_SHIPPED, (listed(number for number, _ in rows),))
