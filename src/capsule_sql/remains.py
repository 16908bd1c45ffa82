"""What a server holds of some databases, copied out for whoever searches it: every row, and the server's own files.

PostgreSQL keeps what it deletes, in files that no query shows. A superuser can read those through the server itself;
for others they are left out, and that is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import psycopg
from psycopg import sql

from capsule_sql.migration import Role
from capsule_sql.provisioning import MayNotProvision, administering

__all__ = ["Copied", "copy_out", "copy_rows", "written_so_far"]

_SCHEMAS: Final = [Role.DATA.schema, Role.LEDGER.schema, "dbos"]
_PART: Final = 8 << 20
_ELSEWHERE: Final = "its log and its archive"
_FILES: Final = "its own files, which only a superuser may read"
_REUSED: Final = "the part of its write-ahead log that it has put to other use"
_FOLDER: Final = "SELECT regexp_replace(pg_relation_filepath('pg_catalog.pg_class'), '/[^/]*$', '')"
_KEPT: Final = """SELECT file FROM pg_ls_dir(%s) file WHERE substring(file FROM '^[0-9]+')::oid IN (
    SELECT pg_relation_filenode(oid) FROM pg_class WHERE oid >= 16384 OR relname ~ '^pg_(statistic|toast_2619)')"""
"""The files of all that was not there when the database was made, and of what samples its values."""
_WAL: Final = "SELECT name FROM pg_ls_waldir() WHERE name BETWEEN %s AND pg_walfile_name(pg_current_wal_insert_lsn())"


@attrs.frozen
class Copied:
    """What was copied: how many *tables* and *files* of the server; *unseen* says what could not be looked at."""

    tables: int = 0
    files: int = 0
    unseen: str = ""


def written_so_far(admin_url: str) -> str:
    """Name the file of the write-ahead log that the server writes to at this moment.

    Raises:
        CapsuleError: the server cannot be asked; the text says what to do.
    """
    with administering(admin_url) as admin:
        ((name,),) = admin.execute("SELECT pg_walfile_name(pg_current_wal_insert_lsn())").fetchall()
    return str(name)


def copy_out(admin_url: str, names: Sequence[str], to: Path, *, since: str) -> Copied:
    """Write below *to* every row of the databases *names*, their files, and the write-ahead log from *since* on.

    Raises:
        CapsuleError: the server cannot be asked; the text says what to do.
    """
    tables = sum(copy_rows(admin_url, name, to) for name in names)
    try:
        log = _copy_log(admin_url, since, to)  # first: to write down what is in memory may put old parts to other use
        files = len(log) + sum(_copy_folder(admin_url, name, to) for name in names)
    except MayNotProvision:
        return Copied(tables, 0, f"{_FILES}, {_ELSEWHERE}")
    return Copied(tables, files, _ELSEWHERE if since in log else f"{_REUSED}, {_ELSEWHERE}")


def copy_rows(admin_url: str, name: str, to: Path) -> int:
    """Write every row of the database *name* below *to*, as the server holds it; return of how many tables.

    Raises:
        CapsuleError: the server cannot be asked; the text says what to do.
    """
    select = "SELECT schemaname, tablename, rowsecurity FROM pg_tables WHERE schemaname = ANY(%s)"
    with administering(admin_url, name) as admin:
        tables = admin.execute(select, (_SCHEMAS,)).fetchall()
        tenants = _tenants(admin) if any(guarded for *_, guarded in tables) else ()
        for schema, table, guarded in tables:
            with (to / f"{name}.{schema}.{table}").open("wb") as file:
                for tenant in tenants if guarded else ("",):
                    admin.execute("SELECT set_config('capsule.tenant', %s, true)", (tenant,))
                    for part in _rows(admin, schema, table):
                        file.write(part)
    return len(tables)


def _tenants(admin: psycopg.Connection[Any]) -> Sequence[str]:
    """Name the tenants as whom all rows are seen: row security binds an administrator who is no superuser too."""
    above = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
    if admin.execute(above).fetchall() == [(True,)]:
        return [""]
    return [str(number) for (number,) in admin.execute("SELECT no FROM data.tenants")]


def _rows(admin: psycopg.Connection[Any], schema: str, table: str) -> Iterator[bytes]:
    # A table that row security guards is not copied as such, but what is selected from it is.
    statement = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT (FORMAT binary)").format(sql.Identifier(schema, table))
    with admin.cursor().copy(statement) as rows:
        for part in rows:
            yield bytes(part)


def _copy_folder(admin_url: str, name: str, to: Path) -> int:
    """Copy what a database's tables and indexes lie in, once everything that was written has reached it."""
    with administering(admin_url, name) as admin:
        admin.execute("CHECKPOINT")
        ((folder,),) = admin.execute(_FOLDER).fetchall()
        files = [file for (file,) in admin.execute(_KEPT, (folder,))]
        for file in files:
            _copy_file(admin, f"{folder}/{file}", to / f"{name}.file.{file}")
    return len(files)


def _copy_log(admin_url: str, since: str, to: Path) -> Sequence[str]:
    with administering(admin_url) as admin:
        files = [str(file) for (file,) in admin.execute(_WAL, (since,))]
        for file in files:
            _copy_file(admin, f"pg_wal/{file}", to / f"wal.{file}")
    return files


def _copy_file(admin: psycopg.Connection[Any], path: str, to: Path) -> None:
    """Copy a file through the server; one that is gone by now is empty."""
    read = "SELECT pg_read_binary_file(%s, %s, %s, true)"
    with to.open("wb") as file:
        part: bytes | None = b"begin"
        while part:
            ((part,),) = admin.execute(read, (path, file.tell(), _PART), binary=True).fetchall()
            file.write(part or b"")
