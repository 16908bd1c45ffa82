"""Where the durable engine keeps its own state: a SQLite file, or a PostgreSQL database with a role of its own.

Nothing that is kept there is needed to keep a promise: all of it can be begun again by its id. So a commit need not
survive a loss of power, as it must everywhere else, and no backup holds it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import attrs
import psycopg
from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from capsule_core.errors import Unavailable
from capsule_sql.connecting import guarded
from capsule_sql.refusals import told_by_server

__all__ = ["ENGINE_FILE", "WHAT", "Alive", "Connections", "engine_in_file", "engine_on_server", "staying"]

ENGINE_FILE: Final = "engine.db"
"""The file in a service's folder, if its engine is not in PostgreSQL."""

WHAT: Final = "the durable engine"
Connections = Engine
"""What the engine reaches its database by."""

_PRAGMAS: Final = (
    "journal_mode = WAL",
    "synchronous = NORMAL",
    "busy_timeout = 30000",
    "foreign_keys = ON",
    "secure_delete = ON",
    "trusted_schema = OFF",
)


def engine_in_file(path: Path) -> Connections:
    """Open the file at *path*, made at first use; several processes of one machine may."""
    path.touch(mode=0o600)
    made = create_engine(URL.create("sqlite", database=str(path)))  # in a URL's text a "?" would end the path

    @event.listens_for(made, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = "IMMEDIATE"  # whoever may write waits at the beginning, and never in the middle
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    return made


def engine_on_server(url: str) -> Connections:
    """Reach the database at *url*, which a role of the engine's own connects to.

    Raises:
        UrlUnusable: the URL leaves something to guess.
        UnsafeConnection: the server is elsewhere, and nothing would prove that it is the one.
    """
    address = guarded(url, WHAT)
    return create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(address, connect_timeout=5), pool_pre_ping=True
    )


@contextmanager
def staying() -> Generator[None]:
    """Tell what goes wrong with the engine's database in words of the domain; its own would repeat what is there.

    Raises:
        Unavailable: it cannot be used at this moment.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, psycopg.Error):
        raise Unavailable from None


@attrs.define(eq=False)
class Alive:
    """Proves to others that a process lives: it holds an advisory lock on a connection of its own until it ends.

    The server lets go of the lock when the process is gone, however it went. A pool of transactions in between would
    not: the URL must lead to the server itself.
    """

    _url: str = attrs.field(repr=False)
    _connection: psycopg.Connection[Any] | None = attrs.field(default=None, init=False, repr=False)
    _held: str | None = attrs.field(default=None, init=False)

    def hold(self, executor: str) -> None:
        """Prove that *executor*, this process, lives; said again after the connection broke, it does so anew.

        Raises:
            CapsuleError: the server does not answer, or refuses.
        """
        self._held = executor
        self._asked("SELECT pg_advisory_lock(%s)", _key(executor))

    def gone(self, executor: str) -> bool:
        """Tell whether *executor* lives no more.

        Raises:
            CapsuleError: the server does not answer, or refuses; nothing is known then.
        """
        if executor == self._held or not self._asked("SELECT pg_try_advisory_lock(%s)", _key(executor)):
            return False
        self._asked("SELECT pg_advisory_unlock(%s)", _key(executor))
        return True

    def close(self) -> None:
        """Let go."""
        if self._connection is not None:
            self._connection.close()

    def _asked(self, text: Any, key: int) -> Any:
        try:
            connection = self._connection
            if connection is None or connection.closed:
                connection = self._connection = self._connect()
            return connection.execute(text, (key,)).fetchall()[0][0]
        except psycopg.Error as error:
            raise told_by_server(error, WHAT) from None

    def _connect(self) -> psycopg.Connection[Any]:
        fresh = psycopg.connect(guarded(self._url, WHAT), autocommit=True, connect_timeout=5)
        if self._held is not None:
            fresh.execute("SELECT pg_advisory_lock(%s)", (_key(self._held),))
        return fresh


def _key(executor: str) -> int:
    digest = blake2b(b"capsule-executor:" + executor.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
