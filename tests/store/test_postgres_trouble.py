"""A server that is gone, full, read-only, restarted, of another version or rolled back: said in one sentence, nothing
acknowledged is lost, and work goes on by itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from capsule_core.errors import CapsuleError, NewerSchema, SubjectErased, Unavailable
from capsule_core.names import TenantId, made_id
from capsule_core.reindexing import reindex
from capsule_sql.failures import DiskFull
from capsule_sql.migration import Role
from capsule_sql.postgres import open_postgres
from capsule_sql.refusals import NotPrepared, ReadOnly, ServerRefused
from tests.core.desk import ACME, NOON, Desk, person
from tests.postgres import Database, Server
from tests.store.crashes import Place, Steps, opened


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of this test's own, for it is not treated well."""
    server = Server.begin()
    try:
        yield server
    finally:
        server.end()


@pytest.fixture
def database(server: Server) -> Database:
    return server.fresh()


@pytest.fixture
def desk(database: Database, tmp_path: Path) -> Iterator[Desk]:
    desk, databases = opened(Place(tmp_path, str(database.server.folder), database.name), Steps())
    yield desk
    for each in databases:
        each.close()


def as_owner(database: Database, statement: str) -> None:
    with psycopg.connect(database.admin_url, autocommit=True) as owner:
        owner.execute(statement)


def test_while_the_server_is_gone_everything_is_unavailable_and_then_goes_on(desk: Desk, server: Server) -> None:
    (ann,) = desk.add(person("Ann"))
    server.stop()
    for call in (lambda: desk.get(ann.id), lambda: desk.rename(ann.id, "x"), lambda: desk.add(person("Bo"))):
        with pytest.raises(Unavailable):
            call()
    server.start()
    assert desk.get(ann.id).content.given_name == "Ann"
    assert desk.rename(ann.id, "changed").version == 2


@pytest.mark.law("L8", "L9")
def test_no_acknowledged_write_is_lost_while_the_server_is_killed_under_load(  # noqa: C901  threads close over it all
    desk: Desk, server: Server
) -> None:
    acknowledged: list[str] = []
    refused: list[str] = []
    over, written = threading.Event(), threading.Semaphore(0)

    def write(number: int) -> None:
        count = 0
        while not over.is_set():
            count += 1
            name = made_id("c", now=NOON, randomness=bytes([number]) + count.to_bytes(9, "big"))
            try:
                desk.add(person("P", id=name))
            except CapsuleError as error:
                refused.append(error.reason)
                if error.reason == "INDEX_MISSING":
                    with suppress(Unavailable):  # it may have been killed again
                        reindex(desk.repository, TenantId(ACME))
            else:
                acknowledged.append(name)
                written.release()

    threads = [threading.Thread(target=write, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        for _ in range(20):
            assert written.acquire(timeout=60)
        server.kill()
        server.start()
    for _ in range(20):
        assert written.acquire(timeout=60)
    over.set()
    for thread in threads:
        thread.join(60)
    assert set(refused) <= {"UNAVAILABLE", "INDEX_MISSING"}
    assert [name for name in acknowledged if desk.get(name).version != 1] == []
    told = sum(leaf.records for leaf in desk.leaves())
    everything = desk.store.subjects(ACME, acknowledged)
    assert None not in everything
    assert len(acknowledged) <= told <= len(acknowledged) + len(refused), "one leaf an act, and none for what was not"


def test_a_full_disk_is_said_so_and_nothing_is_changed(desk: Desk, database: Database) -> None:
    (ann,) = desk.add(person("Ann"))
    # The server itself says what it says when a disk is full.
    as_owner(
        database,
        """CREATE FUNCTION public.no_room() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;
           CREATE TRIGGER no_room BEFORE INSERT ON data.arrivals FOR EACH ROW EXECUTE FUNCTION public.no_room()""",
    )
    with pytest.raises(DiskFull):
        desk.rename(ann.id, "changed")
    as_owner(database, "DROP TRIGGER no_room ON data.arrivals")
    assert desk.get(ann.id).content.about == ""
    assert desk.rename(ann.id, "changed").version == 2
    assert [leaf.records for leaf in desk.leaves()] == [1, 1]


def test_a_read_only_server_shows_and_takes_no_changes(database: Database, tmp_path: Path) -> None:
    place = Place(tmp_path, str(database.server.folder), database.name)
    desk, databases = opened(place, Steps())
    (ann,) = desk.add(person("Ann"))
    for each in databases:
        each.close()
    as_owner(database, f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    desk, databases = opened(place, Steps())
    assert desk.get(ann.id).content.given_name == "Ann"
    with pytest.raises(ReadOnly):
        desk.rename(ann.id, "changed")
    for each in databases:
        each.close()


@pytest.mark.parametrize(
    ("damage", "refusal"),
    [
        ("UPDATE data.alembic_version SET version_num = 'server_data_9999'", NewerSchema),
        ("DELETE FROM data.alembic_version", NotPrepared),
        ("DROP SCHEMA data CASCADE", NotPrepared),
        ("REVOKE USAGE ON SCHEMA data FROM capsule_original", CapsuleError),
    ],
)
def test_another_schema_is_refused(database: Database, damage: str, refusal: type[Exception]) -> None:
    as_owner(database, damage)
    with pytest.raises(refusal) as refused:
        open_postgres(database.url, Role.DATA)
    assert "init" in str(refused.value) or refusal is NewerSchema


def test_a_role_that_is_not_let_in_is_said_so(database: Database) -> None:
    as_owner(database, f"REVOKE CONNECT ON DATABASE {database.name} FROM PUBLIC")
    with pytest.raises(ServerRefused, match="capsule db init"):
        open_postgres(database.url, Role.DATA)


@pytest.mark.law("L6")
def test_a_database_that_was_rolled_back_brings_nobody_back(server: Server, tmp_path: Path) -> None:
    """Yesterday's copy of the data under today's keystore and journal: its pages heal, and the erased stay closed."""
    database = server.fresh()

    def work(name: str) -> tuple[Desk, list[Any]]:
        return opened(Place(tmp_path, str(server.folder), name), Steps())

    desk, databases = work(database.name)
    (ann, bo) = desk.add(person("Ann"), person("Bo"))
    for each in databases:
        each.close()
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE yesterday TEMPLATE {database.name}")
    desk, databases = work(database.name)
    assert desk.erase(ann.id) is not None
    (zoe,) = desk.add(person("Zoe"))
    for each in databases:
        each.close()
    desk, databases = work("yesterday")
    with pytest.raises(SubjectErased):
        desk.get(ann.id)
    assert desk.get(bo.id).content.given_name == "Bo"
    (eve,) = desk.add(person("Eve"))
    assert eve.slot.page > zoe.slot.page, "no key is given out twice"
    for each in databases:
        each.close()
