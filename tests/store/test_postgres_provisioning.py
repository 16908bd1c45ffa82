"""A server is prepared once or many times, and a service's role may do its work and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from capsule_core.errors import CapsuleError, Unavailable
from capsule_sql.migration import Role
from capsule_sql.postgres import open_postgres
from capsule_sql.provisioning import (
    AdminUrlRefused,
    ForeignDatabase,
    MayNotProvision,
    OldServer,
    ServerAway,
    database_of,
    provision,
    remove,
)
from capsule_sql.remains import copy_rows
from capsule_sql.standing import examine
from tests.postgres import Server

SERVICE = "ledgerdemain"
NAME = database_of(SERVICE)
PASSWORD = "pass/word@1 %"


@pytest.fixture
def url(postgres: Server) -> Iterator[str]:
    yield provision(postgres.url(), NAME, password=PASSWORD)
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
        admin.execute(f"ALTER ROLE {NAME} NOSUPERUSER NOBYPASSRLS")


def owner(postgres: Server) -> psycopg.Connection[Any]:
    return psycopg.connect(postgres.url(NAME), autocommit=True)


def test_a_service_can_open_what_was_prepared_for_it(url: str) -> None:
    examine(url)
    for role in (Role.DATA, Role.LEDGER):
        open_postgres(url, role).close()


def test_preparing_again_changes_nothing_but_the_password(postgres: Server, url: str) -> None:
    def everything() -> list[Any]:
        with owner(postgres) as connection:
            return [
                connection.execute(catalogue).fetchall()
                for catalogue in (
                    "SELECT relname, relacl::text, relowner FROM pg_class ORDER BY oid",
                    "SELECT nspname, nspacl::text, nspowner FROM pg_namespace ORDER BY oid",
                    "SELECT datname, datacl::text, datdba FROM pg_database ORDER BY oid",
                    "SELECT * FROM pg_roles ORDER BY oid",
                    "SELECT roleid, member FROM pg_auth_members ORDER BY 1, 2",
                )
            ]

    before = everything()
    assert provision(postgres.url(), NAME, password="other") != url
    assert everything() == before


def test_who_uses_it_at_this_moment_never_lacks_a_right(postgres: Server, url: str) -> None:
    over, asked, refused = threading.Event(), threading.Semaphore(0), list[str]()

    def work() -> None:
        with psycopg.connect(url, autocommit=True) as service:
            while not over.is_set():
                try:
                    service.execute("SELECT count(*) FROM data.outbox")
                except psycopg.errors.InsufficientPrivilege as error:
                    refused.append(str(error))
                asked.release()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        assert asked.acquire(timeout=30)
        for _ in range(3):
            provision(postgres.url(), NAME, password=PASSWORD)
    finally:
        over.set()
        worker.join(30)
    assert refused == []


@pytest.mark.usefixtures("url")
def test_rights_that_were_changed_by_hand_are_put_back(postgres: Server) -> None:
    with owner(postgres) as connection:
        connection.execute(f"GRANT UPDATE (data), DELETE ON data.leaves TO {NAME}")
        connection.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        connection.execute(f"GRANT CONNECT ON DATABASE {NAME} TO PUBLIC")
        connection.execute(f"ALTER ROLE {NAME} SUPERUSER CREATEROLE REPLICATION")
    url = provision(postgres.url(), NAME, password=PASSWORD)
    examine(url)
    with psycopg.connect(url) as service:
        select = "SELECT has_schema_privilege('public', 'CREATE'), has_database_privilege('pg_monitor', %s, 'CONNECT')"
        assert service.execute(select, (NAME,)).fetchall() == [(False, False)]


def test_the_service_keeps_the_servers_log_quiet_and_waits_for_nothing_for_ever(url: str) -> None:
    with psycopg.connect(url) as service:
        said = {
            name: service.execute("SELECT current_setting(%s)", (name,)).fetchall()[0][0]
            for name in (
                "log_statement",
                "log_min_error_statement",
                "log_error_verbosity",
                "log_parameter_max_length_on_error",
                "statement_timeout",
                "lock_timeout",
                "idle_in_transaction_session_timeout",
            )
        }
    assert list(said.values()) == ["none", "panic", "terse", "0", "10min", "30s", "1min"]


def test_what_collides_and_the_password_are_in_no_log_of_the_server(postgres: Server) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("ALTER ROLE admin SET log_statement = 'all'")
    log = postgres.folder / "log"
    begun = log.stat().st_size
    try:
        url = provision(postgres.url(), NAME, password="canary-of-the-password")
        with psycopg.connect(url, autocommit=True) as service:
            insert = "INSERT INTO data.tenants (tenant) VALUES (%s)"
            service.execute(insert, ("canary-of-a-row",))
            with pytest.raises(psycopg.errors.UniqueViolation):
                service.execute(insert, ("canary-of-a-row",))
    finally:
        with psycopg.connect(postgres.url(), autocommit=True) as admin:
            admin.execute("ALTER ROLE admin RESET ALL")
            admin.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
    said = log.read_bytes()[begun:].decode()
    assert "SCRAM-SHA-256$" in said, "statements were logged"
    assert "tenants_tenant_key" in said, "the collision was logged"
    assert "canary" not in said


def test_what_another_folder_uses_is_left_alone(postgres: Server, url: str) -> None:
    with pytest.raises(ForeignDatabase, match="--name"):
        provision(postgres.url(), NAME, password="other", fresh=True)
    examine(url)


@pytest.mark.usefixtures("url")
def test_what_was_prepared_can_be_removed_without_a_trace(postgres: Server) -> None:
    remove(postgres.url(), NAME)
    with psycopg.connect(postgres.url()) as admin:
        assert admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (NAME,)).fetchall() == []
        assert admin.execute("SELECT 1 FROM pg_roles WHERE rolname LIKE %s", (f"{NAME}%",)).fetchall() == []
    provision(postgres.url(), NAME, password=PASSWORD, fresh=True)


def test_the_password_comes_back_from_the_url_as_it_was(url: str) -> None:
    assert psycopg.conninfo.conninfo_to_dict(url)["password"] == PASSWORD
    assert PASSWORD not in url
    assert urlsplit(url).path == f"/{NAME}"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE data.leaves SET data = ''",
        "DELETE FROM data.leaves",
        "DELETE FROM reads.leaves",
        "UPDATE data.tenants SET tenant = 'x'",
        "DELETE FROM data.tenants",
        "TRUNCATE data.records",
        "DROP TABLE data.records",
        "ALTER TABLE data.records DISABLE ROW LEVEL SECURITY",
        "CREATE TABLE data.mine (x int)",
        "CREATE TABLE public.mine (x int)",
        "CREATE SCHEMA mine",
        "SET ROLE capsule_ledgerdemain_owner",
        "UPDATE data.alembic_version SET version_num = 'x'",
    ],
)
def test_the_service_may_not(url: str, statement: str) -> None:
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)


@pytest.mark.usefixtures("url")
def test_nobody_else_may_connect_to_its_database(postgres: Server) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("CREATE ROLE passerby LOGIN")
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(postgres.url(NAME, "passerby"))


def test_an_admin_without_rights_is_told_which_are_missing(postgres: Server) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("CREATE ROLE weak LOGIN")
    with pytest.raises(MayNotProvision, match="CREATEROLE"):
        provision(postgres.url(user="weak"), "capsule_other", password="x")


def test_an_admin_who_is_no_superuser_can_prepare_it_and_go_on_where_a_right_was_missing(postgres: Server) -> None:
    modest = postgres.url(user="modest")
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("CREATE ROLE modest LOGIN CREATEROLE")
        with pytest.raises(MayNotProvision):
            provision(modest, "capsule_modest", password="x", fresh=True)
        admin.execute("ALTER ROLE modest CREATEDB")
        admin.execute("GRANT SET ON PARAMETER log_error_verbosity TO modest")
    url = provision(modest, "capsule_modest", password="x", fresh=True)
    assert provision(modest, "capsule_modest", password="x") == url
    examine(url)
    with psycopg.connect(url) as service:
        assert service.execute("SHOW log_error_verbosity").fetchall() == [("terse",)]
    remove(postgres.url(), "capsule_modest")


@pytest.mark.parametrize(
    ("create", "why"),
    [
        ("CREATE DATABASE capsule_foreign", "another role owns it"),
        (
            "CREATE DATABASE capsule_foreign OWNER capsule_foreign_owner TEMPLATE template0 ENCODING 'SQL_ASCII'",
            "its encoding is not UTF8",
        ),
    ],
)
def test_a_database_of_somebody_else_is_left_alone_and_so_are_its_roles(
    postgres: Server, create: str, why: str
) -> None:
    roles = "SELECT rolname, rolpassword, rolcanlogin FROM pg_authid ORDER BY oid"
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("CREATE ROLE capsule_foreign LOGIN PASSWORD 'theirs'")
        admin.execute("CREATE ROLE capsule_foreign_owner NOLOGIN")
        admin.execute(create)
        before = admin.execute(roles).fetchall()
        with pytest.raises(ForeignDatabase, match=why):
            provision(postgres.url(), "capsule_foreign", password="x")
        assert admin.execute(roles).fetchall() == before
    remove(postgres.url(), "capsule_foreign")


def test_a_server_that_is_too_old_is_refused_before_anything_is_made(
    postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("capsule_sql.provisioning._OLDEST", 990_000)
    with pytest.raises(OldServer, match="15"):
        provision(postgres.url(), "capsule_old", password="x")
    with psycopg.connect(postgres.url()) as admin:
        assert admin.execute("SELECT 1 FROM pg_roles WHERE rolname LIKE 'capsule_old%'").fetchall() == []


def test_a_server_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ServerAway, match="start it"):
        provision(f"postgresql://admin@/postgres?host={tmp_path}", NAME, password="x")
    with pytest.raises(Unavailable):
        open_postgres(f"postgresql://admin@/postgres?host={tmp_path}", Role.DATA)


@pytest.mark.parametrize("url", ["postgresql://u:sec%zzret@h/x", "postgresql://u:sec ret@h/x"])
def test_an_admin_url_that_cannot_be_read_is_refused_without_repeating_it(url: str, tmp_path: Path) -> None:
    for act in (
        lambda: provision(url, NAME, password="x"),
        lambda: remove(url, NAME),
        lambda: copy_rows(url, NAME, tmp_path),
    ):
        with pytest.raises(AdminUrlRefused, match="correct it") as refused:
            act()
        assert "sec" not in str(refused.value)


def test_an_admin_whom_the_server_does_not_know_is_said_so(postgres: Server) -> None:
    with pytest.raises(AdminUrlRefused, match="not let in"):
        provision(postgres.url(user="nobody_knows"), NAME, password="x")


def test_a_database_nobody_prepared_is_said_so(postgres: Server) -> None:
    with pytest.raises(CapsuleError, match="capsule db init"):
        open_postgres(postgres.url(), Role.DATA)
