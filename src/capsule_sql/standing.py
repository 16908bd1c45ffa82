"""What a service's role stands on: the examination at every start that tenants are really kept apart.

Row security is a promise of the schema *and* of who asks: the owner of a table, a superuser or a table somebody added
later would see everything, and nothing would look wrong.
"""

from __future__ import annotations

from typing import Any, Final

import attrs
import psycopg

from capsule_core.errors import FailedPrecondition
from capsule_sql.refusals import told_by_server

__all__ = ["SCHEMAS", "SERVICE_WIDE", "Exposed", "examine"]

SCHEMAS: Final = ("data", "reads")
SERVICE_WIDE: Final = frozenset(
    {"alembic_version", "arrivals", "checkpoints", "frontiers", "indexed", "leaves", "outbox", "tenants"}
)
"""The tables that belong to no tenant; no other may be without."""

_TENANCY: Final = "(tenant_no = (NULLIF(current_setting('capsule.tenant'::text, true), ''::text))::bigint)"


@attrs.define
class Exposed(FailedPrecondition):
    """The database does not keep tenants apart from this service's role."""

    reason = "EXPOSED"
    sentence = "{what}; {remedy}"
    what: str
    remedy: str


def examine(url: str) -> None:
    """Let pass a database in which the role of *url* sees one tenant at a time, whatever statement it sends.

    Raises:
        Exposed: it would see more; the sentence names the table and the remedy.
    """
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            _check_role(connection)
            _check_catalogue(connection)
            _check_sight(connection)
    except psycopg.Error as error:
        raise told_by_server(error, "the data") from None


_CATALOG: Final = """(SELECT c.oid, n.nspname || '.' || c.relname AS name, c.relname, c.relkind, c.relowner,
    c.relkind IN ('r', 'p') AS is_table, c.relrowsecurity AND c.relforcerowsecurity AS forced,
    EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_no') AS of_tenant
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ANY(%s)) t"""
_OWNED: Final = f"SELECT name FROM {_CATALOG} WHERE is_table AND pg_has_role(current_user, relowner, 'MEMBER')"
_EMPTIED: Final = f"SELECT name FROM {_CATALOG} WHERE is_table AND has_table_privilege(oid, 'TRUNCATE')"
_UNFORCED: Final = f"SELECT name FROM {_CATALOG} WHERE is_table AND of_tenant AND NOT forced"
_UNGUARDED: Final = f"""SELECT name FROM {_CATALOG} WHERE is_table AND of_tenant AND NOT EXISTS (
    SELECT 1 FROM pg_policy p WHERE p.polrelid = t.oid AND NOT p.polpermissive AND p.polcmd = '*'
    AND p.polroles = ARRAY[0::oid] AND p.polwithcheck IS NULL AND pg_get_expr(p.polqual, p.polrelid) = %s)"""
_STRAY: Final = f"SELECT name FROM {_CATALOG} WHERE is_table AND NOT of_tenant AND NOT relname = ANY(%s)"
_VIEWS: Final = f"SELECT name FROM {_CATALOG} WHERE relkind IN ('v', 'm', 'f')"
_DEFINERS: Final = """SELECT n.nspname || '.' || p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = ANY(%s) AND p.prosecdef"""
_ORACLES: Final = f"""SELECT i.indexrelid::regclass::text FROM {_CATALOG} JOIN pg_index i ON i.indrelid = t.oid
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[0]
    WHERE t.of_tenant AND i.indisunique AND a.attname <> 'tenant_no'"""
_OF_TENANTS: Final = f"SELECT name FROM {_CATALOG} WHERE is_table AND of_tenant"

_OURS_ONLY: Final = "connect with the URL that capsule db init wrote"
_ELSEWHERE: Final = "drop it, or keep it in a schema of its own"
_FINDINGS: Final[tuple[tuple[str, tuple[object, ...], str, str], ...]] = (
    (_OWNED, (), "the service's role owns {}", _OURS_ONLY),
    (_EMPTIED, (), "the service's role may empty {}", "revoke TRUNCATE on it"),
    (_UNFORCED, (), "row security is not forced on {}", "ALTER TABLE ... FORCE ROW LEVEL SECURITY"),
    (_UNGUARDED, (_TENANCY,), "{} has no policy that keeps tenants apart", "run capsule db init, or drop it"),
    (_STRAY, (sorted(SERVICE_WIDE),), "{} belongs to no tenant", _ELSEWHERE),
    (_VIEWS, (), "{} shows what its owner sees", _ELSEWHERE),
    (_DEFINERS, (), "the function {} runs with its owner's rights", "drop it, or make it SECURITY INVOKER"),
    (_ORACLES, (), "the unique index {} tells of other tenants' rows", "let it begin with tenant_no"),
)
"""What may not be found in the catalogue: the question, its parameters, what it means, and the remedy."""


def _check_role(connection: psycopg.Connection[Any]) -> None:
    select = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
    if connection.execute(select).fetchall() != [(False,)]:
        raise Exposed("the service's role is above row security", _OURS_ONLY)


def _check_catalogue(connection: psycopg.Connection[Any]) -> None:
    for question, parameters, meaning, remedy in _FINDINGS:
        for (name,) in connection.execute(question, (list(SCHEMAS), *parameters)):
            raise Exposed(meaning.format(name), remedy)


def _check_sight(connection: psycopg.Connection[Any]) -> None:
    """Look for rows, as nobody and as a tenant that does not exist."""
    tables = [name for (name,) in connection.execute(_OF_TENANTS, (list(SCHEMAS),))]
    for tenant in ("", "0"):
        with connection.transaction():
            connection.execute("SELECT set_config('capsule.tenant', %s, true)", (tenant,))
            for table in tables:
                if connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchall():
                    raise Exposed(f"rows of {table} are seen without their tenant", "run capsule db init")
