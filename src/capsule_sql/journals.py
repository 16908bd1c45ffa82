"""The journal in a database of its own, and on a mirror."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import attrs

from capsule_core.journal import Entry, PageResealed, SealedPage, decode, encode
from capsule_core.names import TenantId
from capsule_sql.failures import MirrorsDiffer
from capsule_sql.statements import EACH, Connection, Transactions, listed

__all__ = ["SqlJournal", "fill_journal"]

_BATCH: Final = 1000
_Row = tuple[int, bytes | None, bytes]


@attrs.define(eq=False)
class SqlJournal:
    """A journal; an entry is in the database and on the mirror before ``append`` returns.

    A mirror that lacks entries, after a crash or because it is new, is given them when the journal is opened; so is the
    database, from its mirror. Several processes may use it at the same time.

    Raises:
        MirrorsDiffer: the two do not begin with the same entries.
    """

    _database: Transactions
    _mirror: Transactions | None = None
    _level: bool = attrs.field(default=False, init=False)
    _appending: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.append(())

    def append(self, entries: Sequence[Entry]) -> int:
        """Keep *entries*, all or none; return the position of the last one."""
        with self._appending:
            if not self._level:
                self._database.write(self._bring_level)
                self._level = True
            if not entries:
                return self._database.read(_newest)
            self._level = False  # until both are known to have them
            try:
                position = self._database.write(lambda connection: self._append(connection, entries))
            except sqlite3.IntegrityError:  # another process fell between the two: the mirror is ahead
                self._database.write(self._bring_level)
                position = self._database.write(lambda connection: self._append(connection, entries))
            self._level = True
            return position

    def since(self, position: int) -> Iterator[tuple[int, Entry]]:
        """Give the entries after *position*."""
        while rows := self._database.rows(_AFTER, (position, _BATCH)):
            yield from ((no, decode(line)) for no, _, line in rows)
            position = rows[-1][0]

    def newest_page(self, tenant: TenantId, number: int, key_id: bytes) -> SealedPage | None:
        """Return the page as it was last re-sealed under *key_id*."""
        select = "SELECT line FROM entries WHERE key_id = ? ORDER BY no DESC"
        for (line,) in self._database.rows(select, (key_id,)):
            entry = decode(line)
            if isinstance(entry, PageResealed) and (entry.page.tenant, entry.page.number) == (tenant, number):
                return entry.page
        return None

    def drop(self, positions: Collection[int]) -> None:
        """Take out the entries at *positions*, on the mirror first: the database is what it is compared to."""
        delete, values = f"DELETE FROM entries WHERE no {EACH}", (listed(positions),)

        def body(connection: Connection) -> None:
            connection.alone("journal")
            if self._mirror is not None:
                self._mirror.write(lambda mirror: mirror.execute(delete, values))
            connection.execute(delete, values)

        with self._appending:
            self._level = False  # until both are known to lack them
            self._database.write(body)
            self._level = True

    def settle(self) -> None:
        """Return: ``append`` did not before the mirror had it."""

    def _append(self, connection: Connection, entries: Sequence[Entry]) -> int:
        connection.alone("journal")
        insert = "INSERT INTO entries (key_id, line) VALUES (?, ?) RETURNING no, key_id, line"
        values = [(_key_of(entry), encode(entry)) for entry in entries]
        rows = [row for each in values for row in connection.execute(insert, each).fetchall()]
        if self._mirror is not None:
            self._mirror.write(lambda mirror: _copy(mirror, rows))
        return int(rows[-1][0])

    def _bring_level(self, connection: Connection) -> None:
        """Give the database or the mirror what only the other has; nobody else appends meanwhile."""
        connection.alone("journal")
        mirror = self._mirror
        if mirror is None:
            return
        ours, theirs = _newest(connection), mirror.read(_newest)
        common = min(ours, theirs)
        last = (common - 1, 1)
        if common and _after(connection, *last) != mirror.read(lambda each: _after(each, *last)):
            raise MirrorsDiffer(self._database.role.title, mirror.place)
        if _count(connection, common) != mirror.read(lambda each: _count(each, common)):
            _fill_gaps(connection, mirror, common)
        while common < ours:
            rows = _after(connection, common, _BATCH)
            mirror.write(lambda each, rows=rows: _copy(each, rows))  # type: ignore[misc]
            common = rows[-1][0]
        while common < theirs:
            rows = mirror.rows(_AFTER, (common, _BATCH))
            _copy(connection, rows)
            common = rows[-1][0]


def fill_journal(database: Transactions, rows: Iterable[tuple[int, Entry]], *, newest: int) -> None:
    """Fill a file that holds no journal yet with the entries of one, in their places, all or none.

    *newest* is the last position that was given out; none up to there is given out again.
    """
    told = iter(rows)

    def body(connection: Connection) -> None:
        while part := list(islice(told, _BATCH)):
            _copy(connection, [(no, _key_of(entry), encode(entry)) for no, entry in part])
        connection.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'entries'", (newest,))

    database.write(body)


_AFTER: Final = "SELECT no, key_id, line FROM entries WHERE no > ? ORDER BY no LIMIT ?"


def _copy(target: Connection, rows: Sequence[_Row]) -> None:
    target.executemany("INSERT INTO entries (no, key_id, line) VALUES (?, ?, ?)", rows)


def _key_of(entry: Entry) -> bytes | None:
    """Return by which key a re-sealed page is found."""
    return entry.page.key_id if isinstance(entry, PageResealed) else None


def _newest(connection: Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(no), 0) FROM entries").fetchone()[0])


def _after(connection: Connection, position: int, limit: int) -> list[_Row]:
    return connection.execute(_AFTER, (position, limit)).fetchall()


def _count(connection: Connection, until: int) -> int:
    return int(connection.execute("SELECT count(*) FROM entries WHERE no <= ?", (until,)).fetchone()[0])


def _fill_gaps(connection: Connection, mirror: Transactions, until: int) -> None:
    """Give each what only the other has: a crash fell between two droppings, and nothing is lost over it."""
    numbers, whole = "SELECT no FROM entries WHERE no <= ?", f"SELECT no, key_id, line FROM entries WHERE no {EACH}"
    ours = {no for (no,) in connection.execute(numbers, (until,))}
    theirs = {no for (no,) in mirror.rows(numbers, (until,))}
    _copy(connection, mirror.rows(whole, (listed(theirs - ours),)))
    missing = connection.execute(whole, (listed(ours - theirs),)).fetchall()
    mirror.write(lambda each: _copy(each, missing))
