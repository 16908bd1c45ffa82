"""Page keys in a file of their own, wrapped with the root key, and on a mirror.

A key is destroyed by writing its row over and emptying the file's log: neither keeps anything of it.
"""

from __future__ import annotations

import hmac
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from capsule_core.errors import SealBroken, Unavailable
from capsule_core.names import TenantId
from capsule_core.pages import KeyMoved, PageKey
from capsule_core.sealing import NONCE_BYTES, open_bytes, seal_bytes
from capsule_sql.database import Database
from capsule_sql.failures import ForeignKeystore
from capsule_sql.statements import Connection

__all__ = ["SqlKeystore"]

_OURS: Final = b"capsule keystore"
_Row = tuple[bytes, int, bytes, bytes]
_Contents = tuple[set[_Row], set[tuple[int, bytes]]]


class _Apart(Unavailable):
    """The mirror does not hold what the file does."""


@attrs.define(eq=False)
class SqlKeystore:
    """A keystore; a key is in the file and on the mirror, or gone from both, before a call returns.

    A mirror that a crash left different, or is new, is made like the file when the keystore is opened; a new file is
    made like its mirror.

    Raises:
        ForeignKeystore: the file was made with another root key.
    """

    _database: Database
    _root: bytes = attrs.field(repr=False)
    _random: Callable[[int], bytes]
    _mirror: Database | None = None
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
        rows = [self._row(key) for key in keys]

        def body(connection: Connection) -> None:
            try:
                connection.executemany(_INSERT, rows)
            except sqlite3.IntegrityError:
                raise KeyMoved from None

        self._change(body, destroys=False)

    def get(self, tenant: TenantId, pages: Sequence[int]) -> Sequence[PageKey | None]:
        """Return the keys of pages, in order; None for one that has none."""
        with self._changing:
            if not self._level:
                self._bring_level()
        owner = self._hashed(tenant)
        select = "SELECT id, wrapped FROM keys WHERE tenant = ? AND page = ?"

        def body(connection: Connection) -> list[tuple[bytes, bytes] | None]:
            return [connection.execute(select, (owner, page)).fetchone() for page in pages]

        rows = self._database.read(body)
        return [row and self._opened(tenant, page, *row) for page, row in zip(pages, rows, strict=True)]

    def replace(self, keys: Sequence[tuple[bytes, PageKey]]) -> None:
        """Destroy the keys whose ids are given and put new ones in their places."""
        update = "UPDATE keys SET id = ?, wrapped = ? WHERE tenant = ? AND page = ? AND id = ? RETURNING no"
        rows = [(old, *self._row(key)) for old, key in keys]

        def body(connection: Connection) -> None:
            for old, tenant, page, name, wrapped in rows:
                if not connection.execute(update, (name, wrapped, tenant, page, old)).fetchall():
                    raise KeyMoved

        self._change(body, destroys=True)

    def close(self, tenant: TenantId) -> None:
        """Destroy all keys of a tenant."""
        values = (self._hashed(tenant),)
        self._change(lambda connection: connection.execute("DELETE FROM keys WHERE tenant = ?", values), destroys=True)

    @property
    def _copies(self) -> list[Database]:
        return [self._database] if self._mirror is None else [self._database, self._mirror]

    def _change(self, body: Callable[[Connection], object], *, destroys: bool) -> None:
        def both(connection: Connection) -> None:
            body(connection)
            self._level = False  # until the file and its mirror are both known to have it
            if self._mirror is not None:
                try:
                    self._mirror.write(body)
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
        """Finish what a crash, a full disk or a reader left undone: the copies alike, their logs empty."""
        self._database.write(self._make_alike)
        self._empty_logs()
        self._level = True

    def _make_alike(self, connection: Connection) -> None:
        """Let one of the copies have what the other has, and nothing else; no process changes them meanwhile."""
        ours = connection.execute(_SEALED).fetchall()
        theirs = [] if self._mirror is None else self._mirror.rows(_SEALED, ())
        for copy, sealed in zip(self._copies, (ours, theirs), strict=False):
            self._check_sealed(copy, sealed)
        if not ours and not theirs:
            nonce = self._random(NONCE_BYTES)
            connection.execute(_SEAL, (1, seal_bytes(_OURS, key=self._root, bound=_OURS, nonce=nonce)))
        if self._mirror is None:
            return
        if ours or not theirs:
            contents = _contents(connection)
            self._mirror.write(lambda mirror: _replace(mirror, contents))
        else:
            _replace(connection, self._mirror.read(_contents))

    def _check_sealed(self, copy: Database, rows: Sequence[tuple[bytes]]) -> None:
        for (sealed,) in rows:
            try:
                open_bytes(sealed, key=self._root, bound=_OURS, what="keystore")
            except SealBroken:
                raise ForeignKeystore(str(copy.path)) from None

    def _empty_logs(self) -> None:
        for copy in self._copies:
            copy.checkpoint()

    def _hashed(self, tenant: TenantId) -> bytes:
        return hmac.digest(self._root, b"tenant\0" + tenant.encode(), "sha256")[:16]

    def _row(self, key: PageKey) -> _Row:
        owner = self._hashed(key.tenant)
        bound = _bound(owner, key.page, key.id)
        return (
            owner,
            key.page,
            key.id,
            seal_bytes(key.key, key=self._root, bound=bound, nonce=self._random(NONCE_BYTES)),
        )

    def _opened(self, tenant: TenantId, page: int, name: bytes, wrapped: bytes) -> PageKey:
        bound = _bound(self._hashed(tenant), page, name)
        key = open_bytes(wrapped, key=self._root, bound=bound, what="page key")
        return PageKey(tenant=tenant, page=page, id=name, key=key)


_INSERT: Final = "INSERT INTO keys (tenant, page, id, wrapped) VALUES (?, ?, ?, ?)"
_SEALED: Final = "SELECT sealed FROM seals"
_SEAL: Final = "INSERT INTO seals (no, sealed) VALUES (?, ?)"


def _bound(owner: bytes, page: int, name: bytes) -> bytes:
    return owner + page.to_bytes(8, "big") + name


def _replace(target: Connection, contents: _Contents) -> None:
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
    return keys, set(connection.execute("SELECT no, sealed FROM seals"))
