"""What a server holds is copied out whole: rows of every tenant, and what it deleted and keeps in its own files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from capsule_sql.provisioning import database_of, provision, remove
from capsule_sql.remains import Copied, copy_out, copy_rows, written_so_far
from tests.postgres import Server

NAME = database_of("excavated")
LIVING, DELETED = b"canary-that-lives", b"canary-that-was-deleted"


@pytest.fixture(params=["superuser", "modest"])
def admin(request: pytest.FixtureRequest, postgres: Server) -> Iterator[tuple[str, str]]:
    """An administrator's URL, and that of a service whose two tenants kept something, and deleted something."""
    with psycopg.connect(postgres.url(), autocommit=True) as owner:
        if request.param == "modest":
            owner.execute("CREATE ROLE digger LOGIN CREATEROLE CREATEDB")
    url = postgres.url(user="digger") if request.param == "modest" else postgres.url()
    provision(url, NAME, password="x")
    yield request.param, url
    remove(postgres.url(), NAME)
    with psycopg.connect(postgres.url(), autocommit=True) as owner:
        owner.execute("DROP ROLE IF EXISTS digger")


def write(server: Server, deleted: bytes = DELETED) -> None:
    """Keep an answer of each of two tenants, delete another, and let an index of words live and die with them."""
    with psycopg.connect(server.url(NAME, NAME), autocommit=True) as service:
        for tenant in ("one", "two"):
            select = "INSERT INTO data.tenants (tenant) VALUES (%s) RETURNING no"
            ((number,),) = service.execute(select, (tenant,)).fetchall()
            with service.transaction():
                service.execute("SELECT set_config('capsule.tenant', %s, true)", (str(number),))
                for key, body in ((b"a", LIVING + tenant.encode()), (b"b", deleted)):
                    insert = "INSERT INTO data.answers (tenant_no, until, key, digest, body) VALUES (%s, 1, %s, '', %s)"
                    service.execute(insert, (number, key, body))
            with service.transaction():
                service.execute("SELECT set_config('capsule.tenant', %s, true)", (str(number),))
                service.execute("DELETE FROM data.answers WHERE key = %s", (b"b",))


def holding(folder: Path, word: bytes) -> set[str]:
    """Name the files that have *word*: rows by their table, what the server wrote by its kind."""
    names = (path.name.removeprefix(f"{NAME}.") for path in folder.iterdir() if word in path.read_bytes())
    return {name.partition(".")[0] if name.startswith(("file", "wal")) else name for name in names}


def test_rows_of_every_tenant_are_copied_and_deleted_ones_are_found_in_the_servers_files(
    admin: tuple[str, str], postgres: Server, tmp_path: Path
) -> None:
    who, url = admin
    since = written_so_far(url)
    write(postgres)
    copied = copy_out(url, [NAME], tmp_path, since=since)
    for tenant in (b"one", b"two"):
        assert "data.answers" in holding(tmp_path, LIVING + tenant)
    assert "data.answers" not in holding(tmp_path, DELETED), "no query shows it any more"
    if who == "modest":
        unseen = "its own files, which only a superuser may read, its log and its archive"
        assert copied == Copied(copied.tables, 0, unseen)
        assert holding(tmp_path, DELETED) == set()
    else:
        assert copied.unseen == "its log and its archive"
        assert holding(tmp_path, DELETED) == {"file", "wal"}
        assert copied.files == sum(".file." in path.name or path.name.startswith("wal") for path in tmp_path.iterdir())
    assert copied.tables == copy_rows(url, NAME, tmp_path) > 15


def test_of_the_write_ahead_log_is_copied_what_was_written_since_and_what_is_missing_of_it_is_said(
    postgres: Server, tmp_path: Path
) -> None:
    word = b"canary-that-no-other-test-put-into-a-file-of-the-log-that-is-used-again"
    begun = written_so_far(postgres.url())
    provision(postgres.url(), NAME, password="x")
    write(postgres, word)
    with psycopg.connect(postgres.url(), autocommit=True) as owner:
        owner.execute("SELECT pg_switch_wal()")
        owner.execute("CREATE TEMP TABLE something ()")
        later = written_so_far(postgres.url())
        (tmp_path / "later").mkdir()
        assert copy_out(postgres.url(), [NAME], tmp_path / "later", since=later).unseen == "its log and its archive"
        assert holding(tmp_path / "later", word) == {"file"}
        owner.execute("CHECKPOINT")
    assert "put to other use" in copy_out(postgres.url(), [NAME], tmp_path, since=begun).unseen
    remove(postgres.url(), NAME)
