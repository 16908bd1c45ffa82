"""A server is prepared once or many times, and a service's role may do its work and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from capsule_core.errors import CapsuleError, Unavailable
from capsule_sql.migration import Role
from capsule_sql.postgres import open_postgres
from capsule_sql.provisioning import ForeignDatabase, MayNotProvision, database_of, provision, remove
from capsule_sql.refusals import ServerRefused, UnsafeConnection
from capsule_sql.standing import Exposed, examine
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
            catalogue = "SELECT relname, relacl::text, relowner FROM pg_class ORDER BY oid"
            return connection.execute(catalogue).fetchall()

    before = everything()
    assert provision(postgres.url(), NAME, password="other") != url
    assert everything() == before


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


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("ALTER TABLE data.records NO FORCE ROW LEVEL SECURITY", "data.records"),
        ("ALTER TABLE data.answers DISABLE ROW LEVEL SECURITY", "data.answers"),
        ("DROP POLICY tenancy ON data.tokens", "data.tokens"),
        ("ALTER POLICY tenancy ON data.pages USING (true)", "data.pages"),
        ("ALTER POLICY tenancy ON data.pages TO capsule_ledgerdemain", "data.pages"),
        ("CREATE TABLE data.added (tenant_no bigint)", "data.added"),
        ("CREATE TABLE data.added (x int)", "belongs to no tenant"),
        ("CREATE VIEW data.seen AS SELECT * FROM data.records", "data.seen"),
        ("CREATE MATERIALIZED VIEW reads.seen AS SELECT 1", "reads.seen"),
        ("CREATE FUNCTION data.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'", "data.f"),
        ("CREATE UNIQUE INDEX by_id ON data.records (id)", "by_id"),
        ("GRANT TRUNCATE ON data.records TO capsule_ledgerdemain", "data.records"),
        ("GRANT capsule_ledgerdemain_owner TO capsule_ledgerdemain", "owns"),
        ("ALTER TABLE data.reasons OWNER TO capsule_ledgerdemain", "data.reasons"),
        ("ALTER ROLE capsule_ledgerdemain BYPASSRLS", "above row security"),
        ("ALTER ROLE capsule_ledgerdemain SUPERUSER", "above row security"),
    ],
)
@pytest.mark.law("L1")
def test_a_database_that_would_show_more_than_one_tenant_is_refused(
    postgres: Server, url: str, damage: str, told: str
) -> None:
    examine(url)
    with owner(postgres) as connection:
        connection.execute(damage)
    with pytest.raises(Exposed) as refused:
        examine(url)
    assert told in str(refused.value)
    if damage.startswith("GRANT capsule"):
        with owner(postgres) as connection:
            connection.execute(f"REVOKE {NAME}_owner FROM {NAME}")


@pytest.mark.usefixtures("url")
def test_the_owner_may_not_serve(postgres: Server) -> None:
    with pytest.raises(Exposed):
        examine(postgres.url(NAME))


def test_an_admin_without_rights_is_told_which_are_missing(postgres: Server) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("CREATE ROLE weak LOGIN")
    with pytest.raises(MayNotProvision, match="CREATEROLE"):
        provision(postgres.url(user="weak"), "capsule_other", password="x")


def test_a_database_of_somebody_else_is_left_alone(postgres: Server) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {database_of('foreign')}")
    with pytest.raises(ForeignDatabase):
        provision(postgres.url(), database_of("foreign"), password="x")


def test_a_server_that_is_not_there_is_said_so(tmp_path: Any) -> None:
    with pytest.raises(Unavailable):
        provision(f"postgresql://admin@/postgres?host={tmp_path}", NAME, password="x")
    with pytest.raises(Unavailable):
        open_postgres(f"postgresql://admin@/postgres?host={tmp_path}", Role.DATA)


@pytest.mark.parametrize("mode", ["", "&sslmode=require", "&sslmode=prefer", "&sslmode=verify-ca"])
def test_a_server_elsewhere_must_prove_who_it_is(mode: str) -> None:
    with pytest.raises(UnsafeConnection):
        open_postgres(f"postgresql://u@db.example/x?connect_timeout=1{mode}", Role.DATA)


def test_what_is_no_url_is_refused_without_repeating_it() -> None:
    with pytest.raises(ServerRefused) as refused:
        open_postgres("postgresql://u:secret@/x?nonsense=1", Role.DATA)
    assert "secret" not in str(refused.value)


def test_a_database_nobody_prepared_is_said_so(postgres: Server) -> None:
    with pytest.raises(CapsuleError, match="capsule db init"):
        open_postgres(postgres.url(), Role.DATA)
