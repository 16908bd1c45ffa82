"""Page keys in a file of their own, wrapped with the root key, and on a mirror.

A key is destroyed by writing its row over and emptying the file's log: neither keeps anything of it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import attrs

from capsule_core.errors import RootKeyAbsent, SealBroken, Unavailable
from capsule_core.names import TenantId
from capsule_core.pages import KeyMoved, PageKey
from capsule_core.sealing import KEY_BYTES, NONCE_BYTES
from capsule_core.wrapping import (
    ROOT_ID_BYTES,
    RootKey,
    Roots,
    Row,
    at_hand,
    names_under,
    owner_of,
    root_id,
    seal_names,
    unwrap,
    wrap,
    wrap_again,
)
from capsule_sql.database import Database
from capsule_sql.failures import ForeignKeystore, KeystoresDiffer
from capsule_sql.statements import Connection

__all__ = ["SqlKeystore"]

_AT_ONCE: Final = 200
"""Rows wrapped again in one transaction, so that nobody else waits long."""

_Columns = tuple[bytes, int, bytes, bytes]
_Contents = tuple[set[_Columns], set[tuple[int, bytes]]]
_Deed = Callable[[Connection], object]


class _Apart(Unavailable):
    """The mirror does not hold what the file does."""


@attrs.define(eq=False)
class SqlKeystore:
    """A keystore; a key is in the file and on the mirror, or gone from both, before a call returns.

    A mirror that a crash left different, or is new, is made like the file when the keystore is opened; a new file is
    made like its mirror. Under which root key a row is kept is decided in the transaction that writes it: as soon as
    another is adopted, in whatever process, nothing is written under the one before.

    Raises:
        ForeignKeystore: the file was made with another root key.
        KeystoresDiffer: its mirror is of another keystore.
    """

    _database: Database
    _roots: Roots = attrs.field(converter=at_hand, repr=False)
    _random: Callable[[int], bytes]
    _mirror: Database | None = None
    _names: bytes = attrs.field(default=b"", init=False, repr=False)
    _level: bool = attrs.field(default=False, init=False)
    _changing: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        with self._changing:
            self._bring_level()

    @property
    def mirrors(self) -> int:
        """How many copies are kept."""
        return len(self._copies)

    def put(self, keys: Sequence[PageKey]) -> None:
        """Keep new keys."""

        def plan(connection: Connection) -> _Deed:
            rows = self._wrapped(connection, keys)
            return lambda copy: _insert(copy, rows)

        self._change(plan)

    def get(self, tenant: TenantId, pages: Sequence[int]) -> Sequence[PageKey | None]:
        """Return the keys of pages, in order; None for one that has none."""
        with self._changing:
            if not self._level:
                self._bring_level()
        owner = owner_of(self._names, tenant)
        select = "SELECT tenant, page, id, wrapped FROM keys WHERE tenant = ? AND page = ?"

        def body(connection: Connection) -> list[_Columns | None]:
            return [connection.execute(select, (owner, page)).fetchone() for page in pages]

        found: list[_Columns | None] = []
        while True:
            before, found = found, self._database.read(body)
            try:
                return [row and self._opened(tenant, Row(*row)) for row in found]
            except (RootKeyAbsent, SealBroken):
                if found == before:  # else its root key was replaced since we read it
                    raise

    def replace(self, keys: Sequence[tuple[bytes, PageKey]]) -> None:
        """Destroy the keys whose ids are given and put new ones in their places."""

        def plan(connection: Connection) -> _Deed:
            rows = self._wrapped(connection, [key for _, key in keys])
            replaced = [(old, row) for (old, _), row in zip(keys, rows, strict=True)]
            return lambda copy: _replace(copy, replaced)

        self._change(plan, destroys=True)

    def close(self, mark: PageKey) -> None:
        """Destroy all keys of the mark's tenant; the mark is what it has from then on."""

        def plan(connection: Connection) -> _Deed:
            rows = self._wrapped(connection, [mark])
            return lambda copy: _put_mark(copy, rows)

        self._change(plan, destroys=True)

    def adopt(self, root: RootKey) -> None:
        """Wrap whatever is new under *root* from now on."""
        sealed = seal_names(self._names, root=root, nonce=self._random(NONCE_BYTES))

        def plan(connection: Connection) -> _Deed:
            no, newest = _newest(connection.execute(_SEALED).fetchall())
            fresh = [] if root_id(newest) == root.id else [(no + 1, sealed)]
            return lambda copy: copy.executemany(_SEAL, fresh)

        self._change(plan)

    def rewrap(self) -> Iterator[int]:
        """Wrap everything else under it too; give how many keys, as they come."""
        select = f"SELECT tenant, page, id, wrapped FROM keys WHERE {_ELSEWHERE} LIMIT {_AT_ONCE}"
        update = "UPDATE keys SET wrapped = ? WHERE tenant = ? AND page = ? AND id = ?"
        counts: list[int] = []

        def plan(connection: Connection) -> _Deed:
            root = self._current(connection)
            rows = [self._again(Row(*row), root) for row in connection.execute(select, (root.id,)).fetchall()]
            counts.append(len(rows))
            return lambda copy: copy.executemany(update, [(row.wrapped, *_columns(row)[:3]) for row in rows])

        while True:
            self._change(plan)
            if not counts[-1]:
                return
            yield counts[-1]

    def let_go(self) -> None:
        """Need no other root key any more."""

        def plan(connection: Connection) -> _Deed:
            root = self._current(connection)
            if connection.execute(f"SELECT 1 FROM keys WHERE {_ELSEWHERE} LIMIT 1", (root.id,)).fetchone():
                raise Unavailable
            return lambda copy: copy.execute("DELETE FROM seals WHERE no < (SELECT max(no) FROM seals)")

        self.level()  # a crash of another process may have left the mirror under another
        self._change(plan, destroys=True)

    def level(self) -> None:
        """Finish what a crash, of this process or of another, left undone: the copies alike, their logs empty."""
        with self._changing:
            self._bring_level()

    @property
    def _copies(self) -> list[Database]:
        return [self._database] if self._mirror is None else [self._database, self._mirror]

    def _change(self, plan: Callable[[Connection], _Deed], *, destroys: bool = False) -> None:
        """Do on every copy what *plan* makes of the file as it is, while nobody else changes it."""

        def both(connection: Connection) -> None:
            deed = plan(connection)
            deed(connection)
            self._level = False  # until the file and its mirror are both known to have it
            if self._mirror is not None:
                try:
                    self._mirror.write(deed)
                except KeyMoved:
                    raise _Apart from None

        with self._changing:
            if not self._level:
                self._bring_level()
            try:
                self._database.write(both)
            except _Apart:  # another process fell between the two
                self._bring_level()
                self._database.write(both)
            if destroys:
                self._empty_logs()
            self._level = True

    def _bring_level(self) -> None:
        """Finish what a crash, a full disk or a reader left undone."""
        self._database.write(self._make_alike)
        self._empty_logs()
        self._level = True

    def _make_alike(self, connection: Connection) -> None:
        """Let one of the copies have what the other has, and nothing else; no process changes them meanwhile."""
        ours = connection.execute(_SEALED).fetchall()
        theirs = [] if self._mirror is None else self._mirror.rows(_SEALED, ())
        named = {
            self._named(copy, sealed) for copy, sealed in zip(self._copies, (ours, theirs), strict=False) if sealed
        }
        if len(named) > 1:
            raise KeystoresDiffer(str(self._database.path))
        if not named and any(copy.rows("SELECT 1 FROM keys LIMIT 1", ()) for copy in self._copies):
            raise SealBroken("keystore")
        (self._names,) = named or {self._random(KEY_BYTES)}
        if not named:
            sealed = seal_names(self._names, root=self._roots.first, nonce=self._random(NONCE_BYTES))
            connection.execute(_SEAL, (1, sealed))
        if self._mirror is None:
            return
        if ours or not theirs:
            contents = _contents(connection)
            self._mirror.write(lambda mirror: _make(mirror, contents))
        else:
            _make(connection, self._mirror.read(_contents))

    def _named(self, copy: Database, seals: Sequence[tuple[int, bytes]]) -> bytes:
        """Return the names key of a copy, by the root key that is current there."""
        try:
            return names_under(_newest(seals)[1], roots=self._roots)
        except (RootKeyAbsent, SealBroken):
            raise ForeignKeystore(str(copy.path)) from None

    def _empty_logs(self) -> None:
        for copy in self._copies:
            copy.checkpoint()

    def _current(self, connection: Connection) -> RootKey:
        return self._roots.named(root_id(_newest(connection.execute(_SEALED).fetchall())[1]))

    def _wrapped(self, connection: Connection, keys: Sequence[PageKey]) -> list[Row]:
        root = self._current(connection)
        return [wrap(key, names=self._names, root=root, nonce=self._random(NONCE_BYTES)) for key in keys]

    def _again(self, row: Row, root: RootKey) -> Row:
        with self._doubting(row):
            return wrap_again(row, roots=self._roots, root=root, nonce=self._random(NONCE_BYTES))

    def _opened(self, tenant: TenantId, row: Row) -> PageKey:
        with self._doubting(row):
            return unwrap(row, tenant, roots=self._roots)

    @contextmanager
    def _doubting(self, row: Row) -> Generator[None]:
        """Tell a row under a root key that is not at hand from one that names none of the keystore's."""
        try:
            yield
        except RootKeyAbsent:
            if root_id(row.wrapped) in {root_id(sealed) for _, sealed in self._database.rows(_SEALED, ())}:
                raise
            raise SealBroken("page key") from None


_INSERT: Final = "INSERT INTO keys (tenant, page, id, wrapped) VALUES (?, ?, ?, ?)"
_SEALED: Final = "SELECT no, sealed FROM seals ORDER BY no"
_SEAL: Final = "INSERT INTO seals (no, sealed) VALUES (?, ?)"
_ELSEWHERE: Final = f"substr(wrapped, 1, {ROOT_ID_BYTES}) <> ?"


def _newest(seals: Sequence[tuple[int, bytes]]) -> tuple[int, bytes]:
    if not seals:
        raise SealBroken("keystore")
    return seals[-1]


def _columns(row: Row) -> _Columns:
    return row.owner, row.page, row.id, row.wrapped


def _insert(target: Connection, rows: Sequence[Row]) -> None:
    try:
        target.executemany(_INSERT, map(_columns, rows))
    except sqlite3.IntegrityError:
        raise KeyMoved from None


def _put_mark(target: Connection, rows: Sequence[Row]) -> None:
    target.executemany("DELETE FROM keys WHERE tenant = ?", [(row.owner,) for row in rows])
    _insert(target, rows)


def _replace(target: Connection, replaced: Sequence[tuple[bytes, Row]]) -> None:
    update = "UPDATE keys SET id = ?, wrapped = ? WHERE tenant = ? AND page = ? AND id = ? RETURNING no"
    for old, row in replaced:
        if not target.execute(update, (row.id, row.wrapped, row.owner, row.page, old)).fetchall():
            raise KeyMoved


def _make(target: Connection, contents: _Contents) -> None:
    """Destroy what is not among *contents*, and add what is."""
    keys, seals = contents
    present, sealed = _contents(target)
    gone = [row[:2] for row in present - keys]
    target.executemany("DELETE FROM keys WHERE tenant = ? AND page = ?", gone)
    target.executemany(_INSERT, keys - present)
    target.executemany("DELETE FROM seals WHERE no = ?", [row[:1] for row in sealed - seals])
    target.executemany(_SEAL, seals - sealed)


def _contents(connection: Connection) -> _Contents:
    keys = set(connection.execute("SELECT tenant, page, id, wrapped FROM keys"))
    return keys, set(connection.execute(_SEALED))
