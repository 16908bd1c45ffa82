"""What a service's role stands on: the examination at every start that tenants are really kept apart.

Row security is a promise of the schema *and* of who asks: the owner of a table, a superuser or a table somebody added
later would see everything, and nothing would look wrong.
"""

from __future__ import annotations

from typing import Any, Final

import attrs
import psycopg

from capsule_core.errors import FailedPrecondition
from capsule_sql.connecting import guarded
from capsule_sql.refusals import told_by_server

__all__ = ["SCHEMAS", "SERVICE_WIDE", "Exposed", "examine"]

SCHEMAS: Final = ("data", "reads")
SERVICE_WIDE: Final = frozenset(
    {"alembic_version", "arrivals", "checkpoints", "frontiers", "indexed", "journaled", "leaves", "outbox", "tenants"}
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
        CapsuleError: it cannot be asked, or not safely.
    """
    address = guarded(url, "the data")
    try:
        with psycopg.connect(address, autocommit=True, connect_timeout=5) as connection:
            connection.execute("SET search_path = pg_catalog")  # or a policy could mean somebody else's function
            _check_role(connection)
            _check_catalogue(connection)
            _check_sight(connection)
    except psycopg.Error as error:
        raise told_by_server(error, "the data") from None


_POWERS: Final = """SELECT rolname, rolname = session_user FROM pg_roles
  WHERE pg_has_role(session_user, oid, 'MEMBER') AND (
    rolsuper OR rolbypassrls OR rolreplication OR rolcreaterole
    OR rolname IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program'))
  ORDER BY rolname <> session_user, rolname"""
"""The roles it is, or may become, that read past row security: from the files, as a copy, or by a role they make."""
_CATALOG: Final = """(SELECT c.*, kind IN ('r', 'p') AS is_table,
    kind IN ('r', 'p') AND has_tenant AND (ours OR reached) AS of_tenant FROM (
  SELECT c.oid, c.relname, c.relowner, c.relkind AS kind, quote_ident(n.nspname) || '.' || quote_ident(relname) AS name,
    n.nspname = ANY(%s) AS ours, c.relrowsecurity AND c.relforcerowsecurity AS forced,
    has_schema_privilege(session_user, n.oid, 'USAGE') AND (has_table_privilege(session_user, c.oid, 'DELETE')
      OR has_any_column_privilege(session_user, c.oid, 'SELECT, INSERT, UPDATE')) AS reached,
    EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_no') AS has_tenant
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_') c) t"""
"""Tables and views: ours, and, wherever it lies, what has a tenant's number and can be reached."""
_OWNED: Final = f"""SELECT name FROM {_CATALOG}
  WHERE is_table AND (ours OR of_tenant) AND pg_has_role(session_user, relowner, 'MEMBER')"""
_EMPTIED: Final = f"""SELECT name FROM {_CATALOG}
  WHERE is_table AND ours AND has_table_privilege(session_user, oid, 'TRUNCATE')"""
_REWRITTEN: Final = f"""SELECT name FROM {_CATALOG} WHERE is_table AND ours AND relname = 'leaves' AND (
    has_table_privilege(session_user, oid, 'DELETE') OR has_any_column_privilege(session_user, oid, 'UPDATE'))"""
_UNFORCED: Final = f"SELECT name FROM {_CATALOG} WHERE of_tenant AND NOT forced"
_UNGUARDED: Final = f"""SELECT name FROM {_CATALOG} WHERE of_tenant AND NOT EXISTS (
    SELECT 1 FROM pg_policy p WHERE p.polrelid = t.oid AND NOT p.polpermissive AND p.polcmd = '*'
    AND p.polroles = ARRAY[0::oid] AND p.polwithcheck IS NULL AND pg_get_expr(p.polqual, p.polrelid) = %s)"""
_STRAY: Final = f"SELECT name FROM {_CATALOG} WHERE is_table AND ours AND NOT has_tenant AND NOT relname = ANY(%s)"
_VIEWS: Final = f"""SELECT name FROM {_CATALOG} WHERE kind IN ('v', 'm', 'f') AND (ours OR EXISTS (
    SELECT 1 FROM pg_rewrite w JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
    JOIN pg_class s ON d.refclassid = 'pg_class'::regclass AND s.oid = d.refobjid
    JOIN pg_namespace n ON n.oid = s.relnamespace WHERE w.ev_class = t.oid AND n.nspname = ANY(%s)))"""
_DEFINERS: Final = """SELECT n.nspname || '.' || p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = ANY(%s) AND p.prosecdef"""
_ORACLES: Final = f"""SELECT i.indexrelid::regclass::text FROM {_CATALOG} JOIN pg_index i ON i.indrelid = t.oid
    LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[0]
    WHERE of_tenant AND (i.indisunique OR i.indisexclusion) AND a.attname IS DISTINCT FROM 'tenant_no'"""
_OF_TENANTS: Final = f"""SELECT name FROM {_CATALOG}
  WHERE of_tenant AND has_table_privilege(session_user, oid, 'SELECT')"""

_OURS_ONLY: Final = "connect with the URL that capsule db init wrote"
_ELSEWHERE: Final = "drop it, or keep it in a database of its own"
_FINDINGS: Final[tuple[tuple[str, tuple[object, ...], str, str], ...]] = (
    (_OWNED, (), "the service's role owns {}", _OURS_ONLY),
    (_REWRITTEN, (), "the service's role may change the log {}", "revoke UPDATE and DELETE on it"),
    (_EMPTIED, (), "the service's role may empty {}", "revoke TRUNCATE on it"),
    (_UNFORCED, (), "row security is not forced on {}", "ALTER TABLE ... FORCE ROW LEVEL SECURITY"),
    (_UNGUARDED, (_TENANCY,), "{} has no policy that keeps tenants apart", "run capsule db init, or drop it"),
    (_STRAY, (sorted(SERVICE_WIDE),), "{} belongs to no tenant", _ELSEWHERE),
    (_VIEWS, (list(SCHEMAS),), "{} shows what its owner sees", _ELSEWHERE),
    (_DEFINERS, (), "the function {} runs with its owner's rights", "drop it, or make it SECURITY INVOKER"),
    (_ORACLES, (), "the unique index {} tells of other tenants' rows", "let it begin with tenant_no"),
)
"""What may not be found in the catalogue: the question, its parameters, what it means, and the remedy."""


def _check_role(connection: psycopg.Connection[Any]) -> None:
    for name, itself in connection.execute(_POWERS):
        if itself:
            remedy = "run capsule db init as a superuser, and connect with the URL it writes"
            raise Exposed("the service's role is above row security", remedy)
        raise Exposed(f"the service's role may become {name}, which is above row security", "revoke that role from it")
    ((preset,),) = connection.execute("SELECT current_setting('capsule.tenant', true)").fetchall()
    if preset:
        remedy = "ALTER ROLE and ALTER DATABASE ... RESET capsule.tenant"
        raise Exposed("a tenant is set before the service sets one", remedy)


def _check_catalogue(connection: psycopg.Connection[Any]) -> None:
    for question, parameters, meaning, remedy in _FINDINGS:
        for (name,) in sorted(connection.execute(question, (list(SCHEMAS), *parameters))):
            raise Exposed(meaning.format(name), remedy)


def _check_sight(connection: psycopg.Connection[Any]) -> None:
    """Look for rows: with no tenant set, as a tenant that does not exist, and with none again."""
    tables = [name for (name,) in connection.execute(_OF_TENANTS, (list(SCHEMAS),))]
    for tenant in (None, "0", ""):
        with connection.transaction():
            if tenant is not None:
                connection.execute("SELECT set_config('capsule.tenant', %s, true)", (tenant,))
            for table in tables:
                if connection.execute(f"SELECT 1 FROM {table} LIMIT 1".encode()).fetchall():
                    raise Exposed(
                        f"rows of {table} are seen without their tenant",
                        "do not serve; restore the data, or drop what shows them",
                    )
