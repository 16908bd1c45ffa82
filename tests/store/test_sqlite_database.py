"""What is particular to a SQLite file: how it is opened, refused, shared by threads and committed."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from capsule_core.errors import CapsuleError, NewerSchema, Unavailable
from capsule_sql.database import Database, open_database
from capsule_sql.failures import DiskFull, ForeignFile, Unwritable
from capsule_sql.migration import Role, scripts

NOBODY = 65534


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(open_database(tmp_path / "log.db", Role.LEDGER)) as opened:
        yield opened


def pragma(connection: sqlite3.Connection, name: str):
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def put(database: Database, note: str, no: int) -> None:
    database.write(lambda connection: connection.execute("INSERT INTO checkpoints VALUES (?, ?)", (no, note)))


def notes(database: Database) -> dict[int, str]:
    return dict(database.read(lambda connection: connection.execute("SELECT no, note FROM checkpoints").fetchall()))


@pytest.mark.parametrize("doing", ["read", "write"])
def test_every_connection_is_durable_and_overwrites_what_it_deletes(database: Database, doing: str) -> None:
    found = getattr(database, doing)(
        lambda connection: {
            name: pragma(connection, name)
            for name in ("secure_delete", "synchronous", "journal_mode", "foreign_keys", "temp_store")
        }
    )
    assert found == {"secure_delete": 1, "synchronous": 2, "journal_mode": "wal", "foreign_keys": 1, "temp_store": 2}


def test_only_the_owner_may_read_a_file_or_its_log(database: Database) -> None:
    put(database, "x", 1)
    modes = {path.name: path.stat().st_mode & 0o777 for path in database.path.parent.iterdir()}
    assert modes == {"log.db": 0o600, "log.db-wal": 0o600, "log.db-shm": 0o600}


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.folder)
def test_the_migrations_of_a_role_give_exactly_the_tables_that_are_declared(role: Role, tmp_path: Path) -> None:
    open_database(tmp_path / "a.db", role).close()
    config = scripts(role)
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.connect() as connection:
        config.attributes.update(connection=connection, role=role)
        command.check(config)
    engine.dispose()
    assert ScriptDirectory.from_config(config).get_heads() == [role.newest]


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.folder)
def test_a_newer_schema_is_refused_and_left_alone(role: Role, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    open_database(path, role).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'from_the_future'")
        pragma(connection, "wal_checkpoint(TRUNCATE)")
    before = path.read_bytes()
    with pytest.raises(NewerSchema) as refused:
        open_database(path, role)
    assert role.title in str(refused.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database at all" * 400, b"x"], ids=["long", "short"])
def test_a_file_that_is_no_database_is_refused_and_left_alone(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(content)
    with pytest.raises(ForeignFile):
        open_database(path, Role.DATA)
    assert path.read_bytes() == content


def test_a_database_of_other_software_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(ForeignFile):
        open_database(path, Role.DATA)
    assert path.read_bytes() == before


def test_a_file_of_another_role_is_refused(tmp_path: Path) -> None:
    open_database(tmp_path / "a.db", Role.JOURNAL).close()
    with pytest.raises(ForeignFile, match="keystore"):
        open_database(tmp_path / "a.db", Role.KEYSTORE)


def test_a_folder_that_is_not_there_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Unwritable, match="cannot be written"):
        open_database(tmp_path / "missing" / "a.db", Role.DATA)


@contextmanager
def without_rights() -> Iterator[Path]:
    """A folder that cannot be written, whoever runs the tests."""
    with TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder)
        path.chmod(0o555)
        was = os.geteuid()
        if was == 0:
            os.seteuid(NOBODY)
        try:
            yield path
        finally:
            os.seteuid(was)
            path.chmod(0o755)


def test_a_read_only_folder_is_refused_in_a_sentence() -> None:
    with without_rights() as folder, pytest.raises(Unwritable, match="cannot be written"):
        open_database(folder / "a.db", Role.DATA)


def test_a_full_disk_is_told_and_changes_nothing(database: Database) -> None:
    put(database, "kept", 1)
    pages = database.write(lambda connection: pragma(connection, "page_count"))
    database._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DiskFull):
        put(database, "x" * 100_000, 2)
    assert notes(database) == {1: "kept"}
    put(database, "again", 3)
    assert notes(database) == {1: "kept", 3: "again"}


def test_a_change_that_fails_hurts_none_of_those_it_was_committed_with(database: Database) -> None:
    entered = threading.Event()

    def hold(_: sqlite3.Connection) -> None:
        entered.set()
        while len(database._waiting) < 7:
            os.sched_yield()

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO checkpoints VALUES (99, 'of the one that fails')")
        raise Unavailable

    statements: list[str] = []
    database._writer.set_trace_callback(statements.append)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(database.write, hold)
        assert entered.wait(30)
        good = [pool.submit(put, database, "good", no) for no in range(6)]
        bad = pool.submit(database.write, fail)
        for each in (first, *good):
            each.result()
        with pytest.raises(Unavailable):
            bad.result()
    assert statements.count("COMMIT") == 2
    assert notes(database) == dict.fromkeys(range(6), "good")


def test_no_update_is_lost_between_eight_threads_and_two_openings(database: Database) -> None:
    put(database, "0", 1)

    def increment(connection: sqlite3.Connection) -> None:
        (value,) = connection.execute("SELECT note FROM checkpoints WHERE no = 1").fetchone()
        connection.execute("UPDATE checkpoints SET note = ? WHERE no = 1", (str(int(value) + 1),))

    def work(through: Database) -> None:
        for _ in range(60):
            through.write(increment)

    with closing(open_database(database.path, Role.LEDGER)) as other, ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [database, other] * 4))
    assert notes(database) == {1: "480"}


def test_a_mistake_in_a_statement_is_not_dressed_up_as_an_error_of_the_domain(database: Database) -> None:
    for doing in (database.read, database.write):
        with pytest.raises(sqlite3.OperationalError) as failed:
            doing(lambda connection: connection.execute("SELECT nonsense"))
        assert not isinstance(failed.value, CapsuleError)


def test_a_checkpoint_that_a_reader_blocks_is_not_called_done(database: Database) -> None:
    put(database, "x", 1)
    with closing(sqlite3.connect(database.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM checkpoints").fetchall()
        put(database, "y", 2)
        database._writer.execute("PRAGMA busy_timeout = 1")
        with pytest.raises(Unavailable):
            database.checkpoint()
    database.checkpoint()
    assert database.path.with_name("log.db-wal").stat().st_size == 0


def test_after_it_is_closed_a_database_answers_that_it_cannot(database: Database) -> None:
    put(database, "x", 1)
    database.close()
    with pytest.raises(Unavailable):
        put(database, "y", 2)
    with pytest.raises(Unavailable):
        notes(database)
    assert [path.name for path in database.path.parent.iterdir()] == ["log.db"]


def test_all_who_open_a_file_at_once_that_is_not_there_yet_have_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as openers:
        for number in range(12):
            paths = [tmp_path / f"{number}.db"] * 8
            for database in openers.map(open_database, paths, [Role.JOURNAL] * 8):
                database.close()
