"""A service does not start on a database that would show its role more than one tenant, whichever way it was broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import psycopg
import pytest

from capsule_core.errors import FailedPrecondition, Unavailable
from capsule_sql.standing import Exposed, examine
from tests.postgres import APP, Database

GUEST: Final = "guest"
TENANCY: Final = "tenant_no = nullif(current_setting('capsule.tenant', true), '')::bigint"
GUARDED: Final = (
    "CREATE TABLE {0} (tenant_no bigint)",
    "ALTER TABLE {0} ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE {0} FORCE ROW LEVEL SECURITY",
    "CREATE POLICY everyone ON {0} USING (true)",
    f"CREATE POLICY tenancy ON {{0}} AS RESTRICTIVE USING ({TENANCY})",
    f"GRANT SELECT ON {{0}} TO {GUEST}",
)


@pytest.fixture
def guest(database: Database) -> Iterator[str]:
    """The URL of a role that may do what the service's may, and that a test can spoil."""
    with psycopg.connect(database.admin_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {GUEST} LOGIN IN ROLE {APP}")
    yield database.server.url(database.name, GUEST)
    with psycopg.connect(database.admin_url, autocommit=True) as admin:
        admin.execute(f"DROP OWNED BY {GUEST} CASCADE")
        admin.execute(f"DROP ROLE {GUEST}")
        admin.execute("DROP ROLE IF EXISTS powerful")


def spoil(database: Database, *statements: str) -> None:
    with psycopg.connect(database.admin_url, autocommit=True) as admin:
        for statement in statements:
            admin.execute(statement)


def guarded(table: str) -> Sequence[str]:
    return [statement.format(table) for statement in GUARDED]


def refusal(url: str) -> Exposed:
    with pytest.raises(Exposed) as refused:
        examine(url)
    assert isinstance(refused.value, FailedPrecondition)
    assert str(refused.value) == f"{refused.value.what}; {refused.value.remedy}"
    assert refused.value.remedy
    return refused.value


def test_a_database_as_it_was_prepared_is_let_pass(guest: str, database: Database) -> None:
    examine(guest)
    examine(database.url)


@pytest.mark.parametrize("name", ["data.added", 'data."order"', "public.added"])
def test_a_table_that_keeps_tenants_apart_is_let_pass_whatever_its_name(
    guest: str, database: Database, name: str
) -> None:
    spoil(database, *guarded(name))
    examine(guest)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("ALTER TABLE data.records NO FORCE ROW LEVEL SECURITY", "row security is not forced on data.records"),
        ("ALTER TABLE data.answers DISABLE ROW LEVEL SECURITY", "row security is not forced on data.answers"),
        ("CREATE TABLE data.added (tenant_no bigint)", "row security is not forced on data.added"),
        ('CREATE TABLE data."Odd one" (tenant_no bigint)', 'row security is not forced on data."Odd one"'),
        ("CREATE TABLE data.part () INHERITS (data.records)", "row security is not forced on data.part"),
        ("DROP POLICY tenancy ON data.tokens", "data.tokens has no policy"),
        ("ALTER POLICY tenancy ON data.pages USING (true)", "data.pages has no policy"),
        (f"ALTER POLICY tenancy ON data.pages TO {GUEST}", "data.pages has no policy"),
        (f"ALTER POLICY tenancy ON data.pages USING ({TENANCY}) WITH CHECK (true)", "data.pages has no policy"),
        ("CREATE TABLE data.added (x int)", "data.added belongs to no tenant"),
        ("CREATE VIEW data.seen AS SELECT 1", "data.seen shows what its owner sees"),
        ("CREATE MATERIALIZED VIEW reads.seen AS SELECT 1", "reads.seen shows what its owner sees"),
        ("CREATE VIEW public.seen AS SELECT * FROM data.records", "public.seen shows what its owner sees"),
        ("CREATE FUNCTION data.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'", "the function data.f"),
        ("CREATE UNIQUE INDEX by_id ON data.records (id)", "the unique index data.by_id"),
        ("CREATE UNIQUE INDEX by_id ON data.records (id, tenant_no)", "the unique index data.by_id"),
        ("CREATE UNIQUE INDEX by_id ON data.records (lower(id), tenant_no)", "the unique index data.by_id"),
        ("ALTER TABLE data.records ADD CONSTRAINT by_id EXCLUDE (id WITH =)", "the unique index data.by_id"),
        (f"GRANT TRUNCATE ON data.records TO {GUEST}", "the service's role may empty data.records"),
        (f"GRANT UPDATE ON data.leaves TO {GUEST}", "the service's role may change the log data.leaves"),
        (f"GRANT UPDATE (data) ON reads.leaves TO {GUEST}", "the service's role may change the log reads.leaves"),
        (f"GRANT DELETE ON reads.leaves TO {GUEST}", "the service's role may change the log reads.leaves"),
        (f"GRANT pg_write_all_data TO {GUEST}", "the service's role may change the log data.leaves"),
        (f"GRANT {APP}_owner TO {GUEST}", "the service's role owns data.alembic_version"),
        (f"ALTER TABLE data.reasons OWNER TO {GUEST}", "the service's role owns data.reasons"),
        (f"ALTER ROLE {GUEST} SUPERUSER", "the service's role is above row security"),
        (f"ALTER ROLE {GUEST} BYPASSRLS", "the service's role is above row security"),
        (f"ALTER ROLE {GUEST} REPLICATION", "the service's role is above row security"),
        (f"ALTER ROLE {GUEST} CREATEROLE", "the service's role is above row security"),
        (f"CREATE ROLE powerful BYPASSRLS ROLE {GUEST}", "the service's role may become powerful"),
        (f"GRANT pg_read_server_files TO {GUEST}", "the service's role may become pg_read_server_files"),
        (f"ALTER ROLE {GUEST} SET capsule.tenant = '1'", "a tenant is set before the service sets one"),
    ],
)
@pytest.mark.law("L1")
def test_a_database_that_would_show_more_than_one_tenant_is_refused(
    guest: str, database: Database, damage: str, told: str
) -> None:
    examine(guest)
    spoil(database, damage)
    assert refusal(guest).what.startswith(told)


def test_a_copy_of_records_is_refused_wherever_the_role_can_reach_it(guest: str, database: Database) -> None:
    spoil(database, "CREATE SCHEMA elsewhere", "CREATE TABLE elsewhere.copied AS SELECT * FROM data.records")
    examine(guest)  # it cannot be reached
    spoil(database, f"GRANT USAGE ON SCHEMA elsewhere TO {GUEST}", f"GRANT SELECT ON elsewhere.copied TO {GUEST}")
    assert refusal(guest).what == "row security is not forced on elsewhere.copied"


def test_a_partition_is_a_table_of_its_own(guest: str, database: Database) -> None:
    create, *rest = guarded("data.split")
    spoil(database, f"{create} PARTITION BY HASH (tenant_no)", *rest)
    examine(guest)
    spoil(database, "CREATE TABLE data.part PARTITION OF data.split FOR VALUES WITH (MODULUS 1, REMAINDER 0)")
    assert refusal(guest).what == "row security is not forced on data.part"


def test_a_policy_that_asks_somebody_elses_function_is_refused(guest: str, database: Database) -> None:
    """It reads like ours to who looks from that function's schema."""
    spoil(
        database,
        "CREATE SCHEMA lying",
        f"GRANT USAGE ON SCHEMA lying TO {GUEST}",
        "CREATE FUNCTION lying.current_setting(text, boolean) RETURNS text LANGUAGE sql AS $$ SELECT '1' $$",
        "ALTER POLICY tenancy ON data.records USING "
        "(tenant_no = nullif(lying.current_setting('capsule.tenant', true), '')::bigint)",
        f"ALTER ROLE {GUEST} SET search_path = lying, pg_catalog",
    )
    assert refusal(guest).what.startswith("data.records has no policy")


def test_rows_that_are_seen_without_their_tenant_are_refused_though_everything_looks_right(
    guest: str, database: Database
) -> None:
    spoil(database, "INSERT INTO data.tokens (tenant_no, token, record_no, at, claim) VALUES (5, 1, 1, 1, 0)")
    examine(guest)
    spoil(database, "UPDATE data.tokens SET tenant_no = 0")
    assert refusal(guest).what == "rows of data.tokens are seen without their tenant"


def test_a_role_that_steps_down_at_its_door_can_step_up_again(guest: str, database: Database) -> None:
    spoil(database, f"ALTER ROLE {GUEST} SUPERUSER", f"ALTER ROLE {GUEST} SET role = '{APP}'")
    assert refusal(guest).what == "the service's role is above row security"


def test_the_owner_may_not_serve(database: Database) -> None:
    assert refusal(database.admin_url).what == "the service's role is above row security"


def test_a_server_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        examine(f"postgresql://{GUEST}@/x?host={tmp_path}")
