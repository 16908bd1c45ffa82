"""The journal in a file of its own, and on a mirror."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from capsule_core.journal import Entry, PageResealed, SealedPage, decode, encode
from capsule_core.names import TenantId
from capsule_sql.database import Database
from capsule_sql.failures import MirrorsDiffer

__all__ = ["SqlJournal"]

_BATCH: Final = 1000
_Row = tuple[int, bytes | None, bytes]


@attrs.define(eq=False)
class SqlJournal:
    """A journal; an entry is in the file and on the mirror before ``append`` returns.

    A mirror that lacks the last entries, after a crash or because it is new, is given them when the journal is opened;
    so is the file, from its mirror.

    Raises:
        MirrorsDiffer: the two do not begin with the same entries.
    """

    _database: Database
    _mirror: Database | None = None
    _level: bool = attrs.field(default=False, init=False)
    _appending: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.append(())

    def append(self, entries: Sequence[Entry]) -> None:
        """Keep *entries*, all or none."""
        with self._appending:
            if not self._level:
                self._bring_level()
            if entries:
                self._level = False  # until the file and its mirror are both known to have them
                self._database.write(lambda connection: self._append(connection, entries))
                self._level = True

    def since(self, position: int) -> Iterator[tuple[int, Entry]]:
        """Give the entries after *position*."""
        while rows := _after(self._database, position, _BATCH):
            yield from ((no, decode(line)) for no, _, line in rows)
            position = rows[-1][0]

    def newest_page(self, tenant: TenantId, number: int, key_id: bytes) -> SealedPage | None:
        """Return the page as it was last re-sealed under *key_id*."""
        select = "SELECT line FROM entries WHERE key_id = ? ORDER BY no DESC"
        for (line,) in self._database.read(lambda connection: connection.execute(select, (key_id,)).fetchall()):
            entry = decode(line)
            if isinstance(entry, PageResealed) and (entry.page.tenant, entry.page.number) == (tenant, number):
                return entry.page
        return None

    def _append(self, connection: sqlite3.Connection, entries: Sequence[Entry]) -> None:
        insert = "INSERT INTO entries (key_id, line) VALUES (?, ?) RETURNING no, key_id, line"
        values = [(entry.page.key_id if isinstance(entry, PageResealed) else None, encode(entry)) for entry in entries]
        rows = [row for each in values for row in connection.execute(insert, each).fetchall()]
        if self._mirror is not None:
            _copy(rows, self._mirror)

    def _bring_level(self) -> None:
        """Give the file or the mirror what only the other has."""
        if self._mirror is not None:
            ours, theirs = _newest(self._database), _newest(self._mirror)
            common = min(ours, theirs)
            if common and _after(self._database, common - 1, 1) != _after(self._mirror, common - 1, 1):
                raise MirrorsDiffer(self._database.role.title, str(self._mirror.path))
            source, target = (self._database, self._mirror) if ours > theirs else (self._mirror, self._database)
            while rows := _after(source, common, _BATCH):
                _copy(rows, target)
                common = rows[-1][0]
        self._level = True


def _copy(rows: Sequence[_Row], target: Database) -> None:
    insert = "INSERT INTO entries (no, key_id, line) VALUES (?, ?, ?)"
    target.write(lambda connection: connection.executemany(insert, rows))


def _newest(database: Database) -> int:
    select = "SELECT coalesce(max(no), 0) FROM entries"
    return int(database.read(lambda connection: connection.execute(select).fetchone())[0])


def _after(database: Database, position: int, limit: int) -> list[_Row]:
    select = "SELECT no, key_id, line FROM entries WHERE no > ? ORDER BY no LIMIT ?"
    return database.read(lambda connection: connection.execute(select, (position, limit)).fetchall())
