"""Bring a file to the newest schema of its role, in one transaction: SQLAlchemy and Alembic, and only here."""

from __future__ import annotations

import enum
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event, inspect
from sqlalchemy.pool import StaticPool

from capsule_core.errors import NewerSchema

__all__ = ["Role", "is_known", "is_known_in_file", "migrate", "migrate_server", "scripts"]

_SCRIPTS: Final = Path(__file__).with_name("migrations")


class Role(enum.Enum):
    """What a file is for: its name in sentences, the mark in its header, its newest revision, and that on a server."""

    DATA = ("data", "the data", 0x43415044, "data_0008", "server_data_0007")
    LEDGER = ("ledger", "the read log", 0x4341504C, "ledger_0001", "server_ledger_0001")
    JOURNAL = ("journal", "the journal", 0x4341504A, "journal_0001", "server_journal_0001")
    KEYSTORE = ("keystore", "the keystore", 0x4341504B, "keystore_0001", "")

    def __init__(self, folder: str, title: str, mark: int, newest: str, newest_on_server: str) -> None:
        self.folder = folder
        self.title = title
        self.mark = mark
        self.newest = newest
        self.newest_on_server = newest_on_server

    @property
    def schema(self) -> str:
        """The schema of a PostgreSQL database that holds it."""
        return "reads" if self is Role.LEDGER else self.folder


def scripts(role: Role, *, server: bool = False) -> Config:
    """Return Alembic's configuration for the migrations of a role, in a file or on a server."""
    config = Config()
    config.set_main_option("script_location", _escaped(_SCRIPTS))
    config.set_main_option("version_locations", _escaped(_SCRIPTS / f"{'server_' if server else ''}{role.folder}"))
    config.set_main_option("file_template", "%%(rev)s")
    config.set_main_option("path_separator", "newline")  # a folder's name may hold anything else
    return config


def migrate(connection: sqlite3.Connection, role: Role) -> None:
    """Bring the file to the newest schema of its role.

    Raises:
        NewerSchema: a newer version of this software wrote it; nothing was changed.
    """
    revision = _revision(connection)
    if revision == role.newest:
        return
    if revision is not None and not is_known_in_file(role, revision):
        raise NewerSchema(role.title)
    config = scripts(role)
    engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
    event.listen(engine, "begin", _begin)
    with engine.begin() as transaction:
        config.attributes["connection"] = transaction
        config.attributes["role"] = role
        command.upgrade(config, "head")
        transaction.exec_driver_sql(f"PRAGMA application_id = {role.mark}")


def migrate_server(connection: Any, role: Role) -> None:
    """Bring the schema of a role to its newest revision, made if need be, as who owns it; *connection* is psycopg's.

    Raises:
        NewerSchema: a newer version of this software wrote it; nothing was changed.
    """
    engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=StaticPool)
    with engine.begin() as transaction:
        transaction.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {role.schema}")
        transaction.exec_driver_sql(f"SET LOCAL search_path = {role.schema}")
        config = scripts(role, server=True)
        found = inspect(transaction).has_table("alembic_version", schema=role.schema)
        revisions = transaction.exec_driver_sql("SELECT version_num FROM alembic_version").scalars() if found else ()
        if not is_known(role, revisions):
            raise NewerSchema(role.title)
        config.attributes["connection"] = transaction
        config.attributes["role"] = role
        command.upgrade(config, "head")


def is_known_in_file(role: Role, revision: str) -> bool:
    """Tell whether this version knows the *revision* of a file."""
    return revision in {each.revision for each in ScriptDirectory.from_config(scripts(role)).walk_revisions()}


def is_known(role: Role, revisions: Iterable[str]) -> bool:
    """Tell whether this version knows the *revisions* of a schema on a server."""
    return {
        each.revision for each in ScriptDirectory.from_config(scripts(role, server=True)).walk_revisions()
    }.issuperset(revisions)


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _revision(connection: sqlite3.Connection) -> str | None:
    table = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if table else None
    return None if row is None else str(row[0])


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")
