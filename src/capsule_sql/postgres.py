"""One schema of a PostgreSQL database: transactions that see one tenant, retried where others were in their way."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Any, ClassVar, Final, TypeVar

import attrs
import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus

from capsule_core.errors import IndexMissing, NewerSchema, Unavailable, VersionMismatch
from capsule_core.names import TenantId
from capsule_sql.connecting import guarded
from capsule_sql.migration import Role, is_known
from capsule_sql.refusals import NotPrepared, told_by_server
from capsule_sql.schema import COLUMNS
from capsule_sql.statements import Connection, Many, in_postgres

__all__ = ["Postgres", "open_postgres"]

T = TypeVar("T")

_ATTEMPTS: Final = 6
_IN_THE_WAY: Final = (errors.SerializationFailure, errors.DeadlockDetected, errors.UniqueViolation)
"""After these the same transaction, begun again, finds what the other did."""
_NOBODY: Final = 0
_SETTINGS: Final = (
    "-c synchronous_commit=on",  # whatever the server's own setting: what was acknowledged is durable
    "-c default_transaction_isolation=read\\ committed",  # a statement sees what was committed while it waited
    "-c join_collapse_limit=1",  # tokens have no statistics: tables are joined in the order written
    "-c enable_seqscan=off",  # a plan made while a table was small must not read it whole when it has grown
    "-c random_page_cost=1.1",
    "-c lock_timeout=30s",
    "-c idle_in_transaction_session_timeout=60s",
)

_WITHIN: Final = "SELECT set_config('capsule.tenant', ?, true), pg_relation_size(to_regclass('records'))"


class _Lost(Exception):
    """The connection broke before anything could have been committed."""


@attrs.define(eq=False)
class _Session:
    """A connection; between ``BEGIN`` and ``COMMIT`` it sees the rows of one tenant."""

    shared: ClassVar[bool] = True

    raw: psycopg.Connection[Any]
    tenant_no: int | None = None
    committing: bool = False
    _searchable: set[int] = attrs.field(factory=set, init=False)
    _size: psycopg.Cursor[Any] | None = attrs.field(default=None, init=False)
    _planned_for: int = attrs.field(default=0, init=False)

    def execute(self, text: str, values: Sequence[Any] = ()) -> psycopg.Cursor[Any]:
        """Run a statement; in a transaction its errors may come with a later one's."""
        return self.raw.execute(_prepared(text), values, prepare=True, binary=True)

    def executemany(self, text: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement for each of *rows*; an insert of many becomes one statement."""
        rows = list(rows)
        insert = _insert_of_many(text) if len(rows) > 1 else None
        if insert is not None:
            self.raw.execute(insert, [Many(column) for column in zip(*rows, strict=True)], prepare=True, binary=False)
        else:
            for row in rows:
                self.execute(text, row)

    def alone(self, work: str) -> None:
        """Wait until nobody else is at this *work*, and keep them from it until the transaction ends."""
        self.execute("SELECT pg_advisory_xact_lock(hashtext(current_schema()), ?)", (_number_of(work),))

    def beside(self, work: str) -> None:
        """Wait until nobody is alone at this *work*, and let nobody be so until the transaction ends."""
        self.execute("SELECT pg_advisory_xact_lock_shared(hashtext(current_schema()), ?)", (_number_of(work),))

    def within(self, tenant_no: int) -> None:
        """See the rows of this tenant from now on, and of no other."""
        self.tenant_no = tenant_no
        self._size = self.execute(_WITHIN, (str(tenant_no),))

    def search(self, tenant_no: int) -> None:
        """Let pass if what this tenant's records are found by is there; it can only be lost with this connection.

        Raises:
            IndexMissing: it was lost, and is not yet made again.
        """
        if tenant_no in self._searchable or tenant_no == _NOBODY:
            return
        if not self.execute("SELECT 1 FROM indexed WHERE no = ?", (tenant_no,)).fetchall():
            raise IndexMissing
        self._searchable.add(tenant_no)

    def settle(self) -> None:
        """Forget how statements are run when the records have become twice as many: few were thought of then.

        The server itself does so with its next statistics, which come up to a minute after an import.
        """
        told, self._size = self._size, None
        _, size = (told and told.fetchone()) or (None, None)
        if size is not None and size > 2 * self._planned_for:
            with suppress(psycopg.Error):  # what was asked for is done, whatever becomes of the connection
                self.raw.execute("DISCARD PLANS")
            self._planned_for = size

    def begin(self, tenant_no: int) -> None:
        """Open a transaction in which the rows of one tenant can be seen, or of nobody."""
        self.raw.execute("BEGIN")
        self.within(tenant_no)

    def commit(self) -> None:
        """End the transaction; when the connection breaks now, nobody can tell whether it was committed."""
        self.committing = True
        self.raw.execute("COMMIT")

    def leave(self) -> bool:
        """Undo what is open; return whether the connection can be used again."""
        with suppress(psycopg.Error):
            if self.raw.info.transaction_status != TransactionStatus.IDLE:
                self.raw.execute("ROLLBACK")
            return not self.raw.closed
        return False


@attrs.define(eq=False)
class Postgres:
    """A schema of a database, as the service's own role may use it; a connection for each caller at work.

    Args:
        url: where it is, as libpq reads it; holds the password.
        role: what is kept there; it names the schema.
    """

    shared: ClassVar[bool] = True

    _url: str = attrs.field(repr=False)
    role: Role
    _idle: deque[_Session] = attrs.field(factory=deque, init=False, repr=False)
    _numbers: dict[TenantId, int] = attrs.field(factory=dict, init=False, repr=False)
    _closed: bool = attrs.field(default=False, init=False)

    @property
    def place(self) -> str:
        """The schema; where the server is, and who we are there, is nobody's business."""
        return f"schema {self.role.schema}"

    def rows(
        self, text: str, values: Sequence[Any], *, tenant: TenantId | None = None, search: bool = False
    ) -> list[Any]:
        """Run one statement that only reads, and return what it found, in one exchange with the server."""

        def ask(session: _Session, number: int) -> list[Any]:
            session.tenant_no = number
            if search:
                with session.raw.transaction():
                    session.within(number)
                    session.search(number)
            with session.raw.pipeline():  # what is sent at once is one transaction
                session.within(number)
                return session.execute(text, values).fetchall()

        return self._tried(ask, tenant, makes=False)

    def read(self, body: Callable[[Connection], T], *, tenant: TenantId | None = None) -> T:
        """Run *body*, which only reads."""
        return self._tried(_transaction(body), tenant, makes=False)

    def write(self, body: Callable[[Connection], T], *, tenant: TenantId | None = None) -> T:
        """Run *body* in a transaction and return when it is durable; if it raises, nothing of it was done.

        Raises:
            Unavailable: the connection broke while it was being committed; nobody can tell whether it was.
            VersionMismatch: others were in its way, again and again.
        """
        return self._tried(_transaction(body), tenant, makes=True)

    def checkpoint(self) -> None:
        """Promise nothing: PostgreSQL keeps what it deletes, and only the death of keys destroys there."""

    def close(self) -> None:
        """Close every connection."""
        self._closed = True
        while self._idle:
            self._idle.pop().raw.close()

    def _tried(self, body: Callable[[_Session, int], T], tenant: TenantId | None, *, makes: bool) -> T:
        for _ in range(_ATTEMPTS):
            try:
                number = _NOBODY if tenant is None else self._number(tenant, makes=makes)
                return self._once(partial(_given, body, number))
            except _IN_THE_WAY:
                continue
            except _Lost:
                continue  # the server was restarted: connections that lay idle are gone with it
        raise VersionMismatch if makes else Unavailable

    def _once(self, body: Callable[[_Session], T]) -> T:
        session = self._session()
        try:
            result = body(session)
        except psycopg.Error as error:
            raise self._understood(error, session) from None
        except BaseException:
            self._release(session)
            raise
        session.settle()
        self._release(session)
        return result

    def _understood(self, error: psycopg.Error, session: _Session) -> Exception:
        usable = session.leave()
        if usable:
            self._release(session)
            return error if isinstance(error, _IN_THE_WAY) else told_by_server(error, self.role.title)
        session.raw.close()
        if session.committing:
            return Unavailable()
        for each in list(self._idle):  # what it knew of the server is over
            with suppress(ValueError):
                self._idle.remove(each)
                each.raw.close()
        return _Lost()

    def _session(self) -> _Session:
        if self._closed:
            raise Unavailable
        try:
            session = self._idle.pop()
        except IndexError:
            return self._connect()
        session.committing = False
        return session

    def _release(self, session: _Session) -> None:
        if not session.leave():
            session.raw.close()
            return
        self._idle.append(session)
        if self._closed:
            self.close()

    def _connect(self) -> _Session:
        options = " ".join((f"-c search_path={self.role.schema}", *_SETTINGS))
        try:
            raw = psycopg.connect(self._url, autocommit=True, options=options, connect_timeout=5)
        except psycopg.Error as error:
            raise told_by_server(error, self.role.title) from None
        raw.prepared_max = 1000
        return _Session(raw)

    def _number(self, tenant: TenantId, *, makes: bool) -> int:
        known = self._numbers.get(tenant)
        if known is None:
            known = self._once(lambda session: _numbered(session, tenant, makes=makes))
            if known != _NOBODY:
                self._numbers[tenant] = known
        return known


def _given(body: Callable[[_Session, int], T], number: int, session: _Session) -> T:
    return body(session, number)


def _transaction(body: Callable[[Connection], T]) -> Callable[[_Session, int], T]:
    def run(session: _Session, number: int) -> T:
        with session.raw.pipeline():
            session.begin(number)
            result = body(session)
            session.commit()
        return result

    return run


def _numbered(session: _Session, tenant: TenantId, *, makes: bool) -> int:
    """Return a tenant's number; a new tenant is there with an index that is empty, and so whole."""
    rows = session.execute("SELECT no FROM tenants WHERE tenant = ?", (tenant,)).fetchall()
    if not rows and makes:
        with session.raw.transaction():
            insert = "INSERT INTO tenants (tenant) VALUES (?) ON CONFLICT (tenant) DO NOTHING RETURNING no"
            for (number,) in session.execute(insert, (tenant,)).fetchall():
                session.within(number)
                session.execute("INSERT INTO indexed (no) VALUES (?)", (number,))
        rows = session.execute("SELECT no FROM tenants WHERE tenant = ?", (tenant,)).fetchall()
    return int(rows[0][0]) if rows else _NOBODY


def _number_of(work: str) -> int:
    return int.from_bytes(hashlib.sha256(work.encode()).digest()[:4], "big", signed=True)


@cache
def _prepared(text: str) -> bytes:
    return in_postgres(text).encode()


@cache
def _insert_of_many(text: str) -> bytes | None:
    """Write an insert of one row as one of many, each column an array."""
    head, verb, rest = text.partition(" VALUES (")
    values, _, tail = rest.partition(")")
    if not verb or not head.startswith("INSERT INTO ") or values.replace("?", "").strip(", "):
        return None
    table, _, names = head.removeprefix("INSERT INTO ").partition(" (")
    types = [COLUMNS[table][name.strip()] for name in names.rstrip(") ").split(",")]
    arrays = ", ".join(f"%b::{kind}[]" for kind in types)
    return f"{head} SELECT * FROM unnest({arrays}){in_postgres(tail)}".encode()


def open_postgres(url: str, role: Role) -> Postgres:
    """Open the schema of a role in the database at *url*.

    Raises:
        UrlUnusable: the URL leaves something to guess.
        UnsafeConnection: the server is elsewhere, and nothing would prove that it is the one.
        NotPrepared: the schema is missing, or older than this version.
        NewerSchema: a newer version of this software made it.
        ServerRefused: the server does not let us in.
        Unavailable: it does not answer.
    """
    database = Postgres(guarded(url, role.title), role)
    try:
        found = {revision for (revision,) in database.rows("SELECT version_num FROM alembic_version", ())}
        if found != {role.newest_on_server}:
            raise NotPrepared(role.title) if is_known(role, found) else NewerSchema(role.title)
    except BaseException:
        database.close()
        raise
    return database
