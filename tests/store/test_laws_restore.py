"""The law of restoring, on SQLite and on PostgreSQL: as in memory, and with real files and a real server."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import psycopg
import pytest
from hypothesis import given, settings

from tests.conformance.worlds import OnDisk, OnServer, template
from tests.core.desk import Desk
from tests.core.history import Deed, at_a_desk, histories, tried_out
from tests.core.relics import WHEN, back_of_a_tenant_that_is_gone
from tests.postgres import Database

NUMBERS = count()


@attrs.define(eq=False)
class Files:
    """A desk over files of a folder."""

    disk: OnDisk
    desk: Desk = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._sit_down()

    def back_up(self) -> None:
        self.disk._close_files()
        shutil.copy(self.disk.folder / "data.db", self.disk.folder / "backup")
        self.disk._open()
        self._sit_down()

    def restore(self) -> Desk:
        self.disk._close_files()
        (self.disk.folder / "backup").replace(self.disk.folder / "data.db")
        self.disk._open()
        self._sit_down()
        return self.desk

    def close(self) -> None:
        self.disk.close()

    def _sit_down(self) -> None:
        disk = self.disk
        self.desk = at_a_desk(Desk(disk.records, disk.keystore, disk.journal, disk.ledger))


@attrs.define(eq=False)
class Server:
    """A desk over a database, which is copied within its server; the journal is in another."""

    disk: OnServer
    desk: Desk = attrs.field(init=False)
    _copy: Database = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._sit_down()

    def back_up(self) -> None:
        self.disk._close_connections()
        self._copy = attrs.evolve(self.disk.database, name=f"copy{next(NUMBERS)}")
        self._run(f"CREATE DATABASE {self._copy.name} TEMPLATE {self.disk.database.name} STRATEGY wal_log")
        self.disk._open()
        self._sit_down()

    def restore(self) -> Desk:
        """Go on with the copy, and with the journal as it is."""
        self.disk._close_connections()
        entries = self._entries(self.disk.database.admin_url)
        self.disk.database = self._copy
        with psycopg.connect(self._copy.admin_url, autocommit=True) as owner:
            owner.execute("DELETE FROM journal.entries")
            with owner.cursor() as cursor:
                cursor.executemany("INSERT INTO journal.entries (no, key_id, line) VALUES (%s, %s, %s)", entries)
            owner.execute(
                "SELECT setval(pg_get_serial_sequence('journal.entries', 'no'), max(no)) FROM journal.entries"
            )
        self.disk._open()
        self._sit_down()
        return self.desk

    def close(self) -> None:
        self.disk._close_connections()
        self._copy.drop()

    def _entries(self, url: str) -> list[Any]:
        with psycopg.connect(url) as owner:
            return owner.execute("SELECT no, key_id, line FROM journal.entries ORDER BY no").fetchall()

    def _run(self, statement: str) -> None:
        with psycopg.connect(self.disk.database.server.url(), autocommit=True) as admin:
            admin.execute(statement)

    def _sit_down(self) -> None:
        disk = self.disk
        self.desk = at_a_desk(Desk(disk.records, disk.keystore, disk.journal, disk.ledger))


@pytest.fixture
def files(tmp_path: Path) -> Callable[[], Files]:
    original = template(tmp_path / "original")

    def make() -> Files:
        folder = tmp_path / f"f{next(NUMBERS)}"
        shutil.copytree(original, folder)
        return Files(OnDisk(folder))

    return make


@pytest.fixture
def servers(postgres: Any, tmp_path: Path) -> Iterator[Callable[[], Server]]:
    originals: list[Database] = []

    def make() -> Server:
        originals.append(postgres.fresh())
        return Server(OnServer(originals[-1], tmp_path / f"s{next(NUMBERS)}"))

    yield make
    for each in originals:
        each.drop()


@pytest.mark.law("L7")
def test_on_files_it_stands_as_if_it_had_never_been_lost(files: Callable[[], Files]) -> None:
    @settings(max_examples=max(5, settings().max_examples // 3))
    @given(history=histories())
    def explore(history: tuple[list[Deed], list[Deed]]) -> None:
        world = files()
        try:
            tried_out(world, *history)
        finally:
            world.close()

    explore()


@pytest.mark.law("L7")
def test_on_a_server_it_stands_as_if_it_had_never_been_lost(servers: Callable[[], Server]) -> None:
    @settings(max_examples=max(3, settings().max_examples // 8))
    @given(history=histories())
    def explore(history: tuple[list[Deed], list[Deed]]) -> None:
        world = servers()
        try:
            tried_out(world, *history)
        finally:
            world.close()

    explore()


@pytest.mark.law("L7")
@pytest.mark.parametrize("when", WHEN)
def test_on_files_nothing_of_a_tenant_that_is_gone_comes_back(files: Callable[[], Files], when: str) -> None:
    gone_for_good(files(), when)


@pytest.mark.law("L7")
@pytest.mark.parametrize("when", WHEN)
def test_on_a_server_nothing_of_a_tenant_that_is_gone_comes_back(servers: Callable[[], Server], when: str) -> None:
    gone_for_good(servers(), when)


def gone_for_good(world: Files | Server, when: str) -> None:
    try:
        seen = back_of_a_tenant_that_is_gone(world, when)
        seen(world.restore())
    finally:
        world.close()
