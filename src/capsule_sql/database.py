"""One SQLite file: who may open it, how it is read by many threads, and how many writers share one commit."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import attrs

from capsule_core.errors import IndexMissing, Unavailable
from capsule_core.names import TenantId
from capsule_sql.failures import ForeignFile, UnsafeDeletion, told
from capsule_sql.migration import Role, migrate
from capsule_sql.statements import Connection

__all__ = ["Database", "open_database"]

T = TypeVar("T")

_PATIENCE: Final = 5.0
"""Seconds to wait for another process."""
_MOMENT: Final = 0.005
"""Seconds after which what somebody else is about to end is looked at again."""
_TOGETHER: Final = 64
"""How many changes share a commit at most, so that the first does not wait long for the last."""
_UNINDEXED: Final = "SELECT 1 FROM tenants t JOIN unindexed u ON u.no = t.no WHERE t.tenant = ?"
_SHORTEST: Final = 512
"""Bytes of the smallest database there can be."""
_PRAGMAS: Final = (
    "synchronous = FULL",
    "foreign_keys = ON",
    "temp_store = MEMORY",  # a sort that spills would leave its rows on the disk
    "trusted_schema = OFF",
)


class _Alone(sqlite3.Connection):
    """A connection whose transaction nobody disturbs: there is one writer, and the index lies beside the records."""

    shared: ClassVar[bool] = False
    tenant_no: int | None = None

    def alone(self, work: str) -> None:
        return

    def beside(self, work: str) -> None:
        return

    def within(self, tenant_no: int) -> None:
        return

    def search(self, tenant_no: int) -> None:
        if self.execute("SELECT 1 FROM unindexed WHERE no = ?", (tenant_no,)).fetchone():
            raise IndexMissing


@attrs.define(eq=False)
class _Change:
    """One caller's part of a commit, and how it ended; its caller waits for *turn*."""

    body: Callable[[Connection], Any]
    turn: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    done: bool = False
    result: Any = None
    error: BaseException | None = None


@attrs.define(eq=False)
class Database:
    """An open file: reads run side by side, each on its own connection; writes one by one, committed in groups."""

    shared: ClassVar[bool] = False

    path: Path
    role: Role
    cache_mib: int = 16
    _waiting: deque[_Change] = attrs.field(factory=deque, init=False, repr=False)
    _idle: deque[_Alone] = attrs.field(factory=deque, init=False, repr=False)
    _led: bool = attrs.field(default=False, init=False)
    _joining: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)
    _writing: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)
    _writer: _Alone = attrs.field(init=False, repr=False)
    _closed: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._writer = self._connect()

    @property
    def place(self) -> str:
        return str(self.path)

    def rows(
        self, text: str, values: Sequence[Any], *, tenant: TenantId | None = None, search: bool = False
    ) -> list[Any]:
        """Run one statement that only reads, and return what it found; *search* as :meth:`Connection.search`."""

        def body(connection: Connection) -> list[Any]:
            if search and connection.execute(_UNINDEXED, (tenant,)).fetchone():
                raise IndexMissing
            return connection.execute(text, values).fetchall()

        return self.read(body)

    def read(self, body: Callable[[Connection], T], *, tenant: TenantId | None = None) -> T:
        """Run *body* on a connection that nobody else uses meanwhile; it leaves no cursor open."""
        if self._closed:
            raise Unavailable
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            found = body(connection)
        except sqlite3.Error as error:
            connection.close()
            raise told(error, self.role.title, self.path) from None
        except BaseException:
            connection.close()  # the traceback may keep a cursor, and with it an old view of the data
            raise
        self._idle.append(connection)
        if self._closed:
            self.close()
        return found

    def write(self, body: Callable[[Connection], T], *, tenant: TenantId | None = None) -> T:
        """Run *body* in a transaction and return when it is durable; if it raises, nothing of it was done.

        Changes that wait at the same moment are committed together, each behind a savepoint, by whoever came first:
        *body* may run on another caller's thread, and must not write through the database itself.
        """
        change = _Change(body)
        change.turn.acquire()
        with self._joining:
            self._waiting.append(change)
            leads, self._led = not self._led, True
        if not leads:
            change.turn.acquire()  # until somebody has committed it, or leaves the lead to us
        if not change.done:
            self._lead()
        if change.error is not None:
            raise self._told(change.error) from None
        result: T = change.result
        return result

    def checkpoint(self) -> None:
        """Move the log into the file and empty it, so that nothing deleted is left in either.

        Raises:
            Unavailable: somebody kept reading an older state for too long; nothing may be called destroyed.
        """
        try:
            with self._writing:
                (milliseconds,) = self._writer.execute("PRAGMA busy_timeout").fetchone()
                until = time.monotonic() + milliseconds / 1000
                # SQLite waits for who reads, but not for who is emptying the log at this moment.
                while (busy := self._still_busy()) and time.monotonic() < until:
                    time.sleep(_MOMENT)
        except sqlite3.Error as error:
            raise self._told(error) from None
        if busy:
            raise Unavailable

    def _still_busy(self) -> bool:
        busy, *_ = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return bool(busy)

    def close(self) -> None:
        """Close every connection; the last one out leaves the file without a log."""
        with self._writing:
            self._closed = True
            self._writer.close()
            while self._idle:
                self._idle.pop().close()

    def _told(self, error: BaseException) -> BaseException:
        return told(error, self.role.title, self.path) if isinstance(error, sqlite3.Error) else error

    def _connect(self) -> _Alone:
        with ExitStack() as undo:
            try:
                connection = sqlite3.connect(
                    self.path,
                    isolation_level=None,
                    timeout=_PATIENCE,
                    check_same_thread=False,
                    cached_statements=256,
                    factory=_Alone,
                )
                undo.callback(connection.close)
                _keep_a_log(connection)
                for pragma in (*_PRAGMAS, f"cache_size = {-1024 * self.cache_mib}"):
                    connection.execute(f"PRAGMA {pragma}").fetchall()
                if connection.execute("PRAGMA secure_delete = ON").fetchone() != (1,):
                    raise UnsafeDeletion(str(self.path))
            except sqlite3.Error as error:
                raise told(error, self.role.title, self.path) from None
            undo.pop_all()
            return connection

    def _lead(self) -> None:
        """Commit what waits, then leave the lead to the first of those who came meanwhile."""
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), _TOGETHER))]
        try:
            with self._writing:
                self._commit(group)
        finally:
            with self._joining:
                self._led = bool(self._waiting)
                heirs = list(self._waiting)[:1]
            for change in (*heirs, *group):
                change.turn.release()

    def _commit(self, group: list[_Change]) -> None:
        try:
            if self._closed:
                raise Unavailable
            self._writer.execute("BEGIN IMMEDIATE")
            for change in group:
                self._run(change, alone=len(group) == 1)
            self._writer.execute("COMMIT")
        except BaseException as error:
            if not self._closed and self._writer.in_transaction:  # a full disk has rolled back by itself
                self._writer.execute("ROLLBACK")
            reason = error if isinstance(error, Exception) else Unavailable()
            for change in group:
                change.error = change.error or reason
            if reason is not error:
                raise
        finally:
            for change in group:
                change.done = True

    def _run(self, change: _Change, *, alone: bool) -> None:
        if alone:
            change.result = change.body(self._writer)
            return
        self._writer.execute("SAVEPOINT change")
        try:
            change.result = change.body(self._writer)
        except Exception as error:  # noqa: BLE001  it is its caller's, not the group's; the caller gets it
            change.error = error
            self._writer.execute("ROLLBACK TO change")
        self._writer.execute("RELEASE change")


def open_database(path: Path, role: Role, *, cache_mib: int = 16) -> Database:
    """Open the file of a role, made or brought to the newest schema if need be.

    Raises:
        NewerSchema: a newer version of this software wrote it.
        ForeignFile: it is something else.
        Unwritable: it cannot be written.
    """
    try:
        path.touch(mode=0o600)
        if 0 < path.stat().st_size < _SHORTEST:  # SQLite would take it for an empty one
            raise ForeignFile(role.title, str(path))
        with closing(sqlite3.connect(path, isolation_level=None, timeout=_PATIENCE)) as connection:
            if not _is_ours(connection, role):
                raise ForeignFile(role.title, str(path))
            migrate(connection, role)
    except (OSError, sqlite3.Error) as error:
        raise told(error, role.title, path) from None
    return Database(path, role, cache_mib)


def _keep_a_log(connection: sqlite3.Connection) -> None:
    """Ask for the log beside the file; for this alone SQLite does not wait while another process makes the file."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(_MOMENT)
        else:
            return


def _is_ours(connection: sqlite3.Connection, role: Role) -> bool:
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (mark,) = connection.execute("PRAGMA application_id").fetchone()  # afterwards: another process may be making it
    return bool(mark == role.mark or (mark == 0 and objects == 0))
