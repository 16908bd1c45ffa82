"""Prepare a PostgreSQL server for a service: a database, the role that owns it, and the one that uses it.

The service's role owns nothing and may do what its work needs: it adds to the log and cannot change it, and no tenant's
row is seen without its tenant. Doing it again changes nothing, and brings the schema to this version.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, LiteralString
from urllib.parse import quote, urlencode

import attrs
import psycopg
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from capsule_core.errors import FailedPrecondition, Unavailable
from capsule_sql.connecting import is_safe, lacking
from capsule_sql.migration import Role, migrate_server
from capsule_sql.refusals import ReadOnly, ServerRefused, UnprovenServer, told_by_server

__all__ = [
    "DEPLOYMENT",
    "AdminUrlRefused",
    "ForeignDatabase",
    "MayNotProvision",
    "OldServer",
    "ServerAway",
    "administering",
    "database_of",
    "provision",
    "provision_engine",
    "remove",
    "survey",
]

DEPLOYMENT: Final = "capsule"
"""What databases and roles begin with, unless several deployments share a server."""

_OLDEST: Final = 150_000
_ROLES: Final = (Role.DATA, Role.LEDGER)
_ALL: Final[LiteralString] = "SELECT, INSERT, UPDATE, DELETE"
_GRANTS: Final[Mapping[str, LiteralString]] = {
    "alembic_version": "SELECT",
    "arrivals": "SELECT, INSERT, DELETE",
    "indexed": "SELECT, INSERT, DELETE",
    "journaled": "SELECT, INSERT, UPDATE",
    "leaves": "SELECT, INSERT",  # a log that can only grow, whoever has the service's password
    "outbox": "SELECT, INSERT, DELETE",
    "suppressions": "SELECT, INSERT, DELETE",
    "tenants": "SELECT, INSERT",
}
_QUIET: Final = {"log_statement": "none", "log_min_error_statement": "panic", "log_error_verbosity": "terse"}
"""What only a superuser can set, or whom one lets: a server's log would say the keys of rows that collide."""
_MODEST: Final = {
    "log_parameter_max_length_on_error": "0",
    "statement_timeout": "10min",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "60s",
}


@attrs.define
class AdminUrlRefused(FailedPrecondition):
    """The administrator's URL is no URL, or the server does not let it in; what it says holds a password."""

    reason = "ADMIN_URL_REFUSED"
    sentence = "the admin URL {what}; correct it"
    what: str


@attrs.define
class ServerAway(Unavailable):
    """Nobody answers at the administrator's URL."""

    reason = "SERVER_AWAY"
    sentence = "no server answers at the admin URL; start it, or correct the URL"


@attrs.define
class OldServer(FailedPrecondition):
    """The server is older than what the statements need."""

    reason = "OLD_SERVER"
    sentence = "the server is older than PostgreSQL 15; upgrade it, or name another"


@attrs.define
class MayNotProvision(FailedPrecondition):
    """The administrator's role has not the rights to make roles and databases."""

    reason = "MAY_NOT_PROVISION"
    sentence = "the role of the admin URL may not {what}; give it CREATEROLE and CREATEDB, or use a superuser's URL"
    what: str


@attrs.define
class ForeignDatabase(FailedPrecondition):
    """There is a database of that name, and it is somebody else's."""

    reason = "FOREIGN_DATABASE"
    sentence = "the database {name} is not ours: {why}; nothing in it was changed, choose another --name or server"
    name: str
    why: str


def database_of(service: str, deployment: str = DEPLOYMENT) -> str:
    """Name the database of a service, and the role that uses it."""
    return f"{deployment}_{service}"


def survey(admin_url: str, names: Mapping[str, bool]) -> None:
    """Let pass a server on which all of these databases and roles can be prepared; nothing is made or altered.

    *names* says of each whether it is a fresh one: then there must not be such a role yet.

    Raises:
        CapsuleError: the server is old, not reachable or not ours to prepare; the text says what to do.
    """
    with administering(admin_url) as admin:
        for name, fresh in names.items():
            _check(admin, name, fresh=fresh)


def provision(admin_url: str, name: str, *, password: str, fresh: bool = False, roles: Sequence[Role] = _ROLES) -> str:
    """Prepare the server at *admin_url* for the service whose database and role are called *name*.

    Return the URL it connects with, which holds *password*. With *fresh* there must not be such a role yet.

    Raises:
        CapsuleError: as for `survey`, and then nothing was made.
    """
    with administering(admin_url) as admin:
        _check(admin, name, fresh=fresh)
        _make_database(admin, name)
    with administering(admin_url, name) as owner:
        owner.execute(_said("SET ROLE {}", f"{name}_owner"))
        owner.commit()
        for role in roles:
            migrate_server(owner, role)
    # The service's role comes last and with its rights, or not at all: who uses it at this moment never lacks any.
    with administering(admin_url, name) as admin:
        _make_role(admin, name, password)
        admin.execute(_said("SET LOCAL ROLE {}", f"{name}_owner"))
        admin.execute(_said("GRANT CONNECT ON DATABASE {} TO {}", name, name))
        for role in roles:
            _grant(admin, role.schema, name)
    return _url(admin_url, name, password)


def provision_engine(admin_url: str, name: str, *, password: str, fresh: bool = False) -> str:
    """Prepare a database for a durable engine, whose role makes its own tables there; else as :func:`provision`.

    Nothing is kept there that the service could not begin again, and nothing of a person: so an upgrade of the engine
    may alter its tables without an administrator.

    Raises:
        CapsuleError: as for `survey`, and then nothing was made.
    """
    url = provision(admin_url, name, password=password, fresh=fresh, roles=())
    with administering(admin_url, name) as admin:
        admin.execute(_said("GRANT {} TO CURRENT_USER", name))  # whose tables will be looked at, and dropped
        admin.execute(_said("SET LOCAL ROLE {}", f"{name}_owner"))
        admin.execute(_said("GRANT CREATE ON DATABASE {} TO {}", name, name))
    return url


def remove(admin_url: str, name: str) -> None:
    """Drop the database *name* with everything in it, and its roles.

    Raises:
        CapsuleError: as for `survey`.
    """
    with administering(admin_url) as admin:
        admin.execute(_said("DROP DATABASE IF EXISTS {} WITH (FORCE)", name))
        for role in (name, f"{name}_owner"):
            admin.execute(_said("DROP ROLE IF EXISTS {}", role))


@contextmanager
def administering(admin_url: str, database: str | None = None) -> Generator[psycopg.Connection[Any]]:
    """Be at the server as its administrator: in a transaction on *database*, or outside of any where the URL leads.

    Raises:
        CapsuleError: what goes wrong, within the block too, in words of the domain.
    """
    problem = lacking(admin_url, database=False)
    if problem:
        raise AdminUrlRefused(problem)
    if not is_safe(admin_url):
        raise AdminUrlRefused("leads to another machine without sslmode=verify-full")
    address = make_conninfo(admin_url, ssl_min_protocol_version="TLSv1.3", **({"dbname": database} if database else {}))
    try:
        with psycopg.connect(address, autocommit=database is None, connect_timeout=5) as admin:
            yield admin
    except errors.InsufficientPrivilege:
        raise MayNotProvision("do that there") from None
    except psycopg.Error as error:
        told = told_by_server(error, "the data")
        if isinstance(told, ServerRefused):
            raise AdminUrlRefused("is not let in by the server") from None
        if isinstance(told, UnprovenServer):
            raise AdminUrlRefused(
                "leads to a server that does not prove who it is: sslrootcert is missing or wrong"
            ) from None
        if isinstance(told, Unavailable) and error.sqlstate is None:
            raise ServerAway from None
        raise told from None


def _check(admin: psycopg.Connection[Any], name: str, *, fresh: bool) -> None:
    """Check all that can be in the way, before anything is made or altered."""
    if admin.info.server_version < _OLDEST:
        raise OldServer
    if admin.execute("SHOW transaction_read_only").fetchall() == [("on",)]:
        raise ReadOnly("the data")
    if fresh and _exists(admin, "pg_roles", "rolname", name):
        raise ForeignDatabase(name, "another folder uses it")
    _check_ours(admin, name)
    rights = "SELECT rolsuper OR rolcreaterole, rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user"
    ((makes_roles, makes_databases),) = admin.execute(rights).fetchall()
    if not makes_roles:
        raise MayNotProvision("make roles")
    if not makes_databases and not _exists(admin, "pg_database", "datname", name):
        raise MayNotProvision("make databases")


def _check_ours(admin: psycopg.Connection[Any], name: str) -> None:
    select = """SELECT r.rolname, pg_encoding_to_char(d.encoding) FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba
        WHERE d.datname = %s"""
    for owner, encoding in admin.execute(select, (name,)):
        if owner != f"{name}_owner":
            raise ForeignDatabase(name, "another role owns it")
        if encoding != "UTF8":
            raise ForeignDatabase(name, "its encoding is not UTF8")


def _make_database(admin: psycopg.Connection[Any], name: str) -> None:
    owner = f"{name}_owner"
    if not _exists(admin, "pg_roles", "rolname", owner):
        admin.execute(_said("CREATE ROLE {} NOLOGIN", owner))
    admin.execute(_said("GRANT {} TO CURRENT_USER", owner))
    if not _exists(admin, "pg_database", "datname", name):
        create = "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
        admin.execute(_said(create, name, owner))
    admin.execute(_said("REVOKE ALL ON DATABASE {} FROM PUBLIC", name))


def _make_role(admin: psycopg.Connection[Any], name: str, password: str) -> None:
    if not _exists(admin, "pg_roles", "rolname", name):
        admin.execute(_said("CREATE ROLE {}", name))
    # The server gets what it checks passwords with, never the password: it would be in its log of statements.
    verifier = admin.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    admin.execute(_said("ALTER ROLE {} LOGIN NOCREATEDB NOCREATEROLE PASSWORD {}", name, sql.Literal(verifier)))
    ((powerful,),) = admin.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchall()
    if powerful:
        admin.execute(_said("ALTER ROLE {} NOSUPERUSER NOBYPASSRLS NOREPLICATION", name))
    allowed = (
        "SELECT setting FROM unnest(%s::text[]) setting WHERE has_parameter_privilege(current_user, setting, 'SET')"
    )
    quiet = {setting: _QUIET[setting] for (setting,) in admin.execute(allowed, (list(_QUIET),))}
    for setting, value in {**_MODEST, **quiet}.items():
        admin.execute(_said("ALTER ROLE {} SET {} = {}", name, setting, sql.Literal(value)))
    # A server that was upgraded from before 15 may still let everybody make tables there.
    admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")


def _grant(owner: psycopg.Connection[Any], schema: str, name: str) -> None:
    owner.execute(_said("REVOKE ALL ON SCHEMA {} FROM PUBLIC", schema))
    owner.execute(_said("GRANT USAGE ON SCHEMA {} TO {}", schema, name))
    owner.execute(_said("GRANT USAGE ON ALL SEQUENCES IN SCHEMA {} TO {}", schema, name))
    owner.execute(_said("REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM PUBLIC, {}", schema, name))
    for (table,) in owner.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,)).fetchall():
        rights = sql.SQL(_GRANTS.get(table, _ALL))
        owner.execute(
            sql.SQL("GRANT {} ON {} TO {}").format(rights, sql.Identifier(schema, table), sql.Identifier(name))
        )


def _exists(admin: psycopg.Connection[Any], catalog: str, column: str, name: str) -> bool:
    select = sql.SQL("SELECT 1 FROM {} WHERE {} = %s").format(sql.Identifier(catalog), sql.Identifier(column))
    return bool(admin.execute(select, (name,)).fetchall())


def _said(text: LiteralString, *names: str | sql.Composable) -> sql.Composed:
    """Put names into a statement that takes no parameters."""
    quoted = [name if isinstance(name, sql.Composable) else sql.Identifier(name) for name in names]
    return sql.SQL(text).format(*quoted)


def _url(admin_url: str, name: str, password: str) -> str:
    told = {key: str(value) for key, value in conninfo_to_dict(admin_url).items() if value is not None}
    kept = [(key, told[key]) for key in ("host", "hostaddr", "port", "sslmode", "sslrootcert") if key in told]
    query = f"?{urlencode(kept)}" if kept else ""
    return f"postgresql://{quote(name)}:{quote(password, safe='')}@/{quote(name)}{query}"
