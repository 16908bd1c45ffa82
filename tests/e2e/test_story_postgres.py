"""The story once more, whole, on PostgreSQL: what is kept on a server is watched there while it is played."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import psycopg
import pytest

from capsule_services.runtime.layout import ORDER
from tests.e2e.test_story import CAPSULE, STEPS, left_processes
from tests.postgres import Server

# Whoever is connected as a role of the demo, and what that role might do beyond its work; what it owns, anywhere.
_CONNECTED = """SELECT DISTINCT a.usename, a.datname, r.rolsuper, r.rolbypassrls, r.rolcreaterole, r.rolcreatedb,
    r.rolreplication, EXISTS (SELECT 1 FROM pg_shdepend d
      WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND d.deptype = 'o')
  FROM pg_stat_activity a JOIN pg_roles r ON r.rolname = a.usename WHERE a.usename LIKE 'capsule%'"""
_LEFT = """SELECT datname FROM pg_database WHERE datname LIKE 'capsule%'
  UNION ALL SELECT rolname FROM pg_roles WHERE rolname LIKE 'capsule%'"""


@attrs.frozen
class Played:
    """How it ended, and who was seen at the server meanwhile."""

    code: int
    told: dict[str, Any]
    folder: Path
    seen: set[tuple[Any, ...]]
    left: list[Any]

    def step(self, name: str) -> str:
        return next(str(each["told"]) for each in self.told["steps"] if each["step"] == name)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    folder, server, seen = tmp_path_factory.mktemp("story") / "demo", Server.begin(), set[tuple[Any, ...]]()
    command = [*CAPSULE, "demo", "--json", "--data", str(folder), "--database-url", server.url()]
    try:
        with psycopg.connect(server.url(), autocommit=True) as admin:
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
                try:
                    while demo.poll() is None:
                        seen |= set(admin.execute(_CONNECTED).fetchall())
                        try:
                            demo.wait(0.2)
                        except subprocess.TimeoutExpired:
                            continue
                finally:
                    demo.terminate()
                told = json.loads(demo.stdout.read()) if demo.stdout else {}
            yield Played(demo.returncode, told, folder, seen, admin.execute(_LEFT).fetchall())
    finally:
        server.end()


def test_every_step_holds_on_postgresql_too(played: Played) -> None:
    assert [(step["step"], step["told"]) for step in played.told["steps"] if not step["held"]] == []
    assert [step["step"] for step in played.told["steps"]] == STEPS
    assert (played.code, played.told["held"]) == (0, True)


def test_each_service_connects_to_its_own_database_as_a_role_of_its_own(played: Played) -> None:
    places = {(role, database) for role, database, *_ in played.seen}
    data = {place for place in places if not place[1].endswith("_engine")}
    assert {database.rpartition("_")[2] for _, database in data} == set(ORDER)
    assert len(data) == len(ORDER), "nobody else, and nobody elsewhere"
    engines = {database.removesuffix("_engine").rpartition("_")[2] for _, database in places - data}
    assert engines == {"contacts", "identity"}, "those that sweep"
    assert all(role == database for role, database in places)


def test_no_service_connects_as_an_owner_or_above_row_security(played: Played) -> None:
    assert [powers for _, _, *powers, _ in played.seen if any(powers)] == []
    owners = {database for _, database, *_, owns in played.seen if owns}
    assert all(database.endswith("_engine") for database in owners), (
        "an engine makes its own tables, and reaches no other"
    )


def test_databases_and_roles_are_gone_afterwards_and_so_are_the_processes(played: Played) -> None:
    assert played.left == []
    assert list(left_processes(played.folder)) == []


def test_no_record_is_in_a_file_of_the_deployment(played: Played) -> None:
    files = {path.name for path in (played.folder / "deployment").rglob("*.db")}
    assert files == {"keystore.db", "journal.db"}


def test_the_erased_were_looked_for_in_every_row_and_in_the_servers_own_files(played: Played) -> None:
    told = played.step("look for the erased in every file")
    assert "every row of" in told
    assert "files of the server" in told
    assert told.endswith("apart from the server's: its log and its archive")
