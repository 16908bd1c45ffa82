"""Suppressed identifiers, in a table: hashes, written out in hexadecimal so that many are one parameter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from capsule_core.journal import Suppressed
from capsule_core.names import TenantId, micros
from capsule_core.records import Act, Barred
from capsule_sql.statements import EACH, TENANT, Connection, Transactions, listed

__all__ = ["admit", "among", "change", "changing", "remembered"]

_AMONG = f"SELECT hash FROM suppressions WHERE tenant_no = {TENANT} AND hash {EACH}"
_SOME = f"SELECT hash FROM suppressions WHERE tenant_no = {TENANT} LIMIT ?"
_SUPPRESS = "INSERT INTO suppressions (tenant_no, hash, since) VALUES (?, ?, ?)"
_LIFT = f"DELETE FROM suppressions WHERE tenant_no = ? AND hash {EACH}"


def among(database: Transactions, tenant: TenantId, hashes: Iterable[bytes]) -> frozenset[bytes]:
    """Return those of *hashes* that are suppressed."""
    return _read(database.rows(_AMONG, (tenant, _written(hashes)), tenant=tenant))


def remembered(database: Transactions, tenant: TenantId, limit: int) -> list[bytes]:
    """Return up to *limit* of all that is suppressed."""
    return [bytes.fromhex(hashed) for (hashed,) in database.rows(_SOME, (tenant, limit), tenant=tenant)]


def admit(connection: Connection, act: Act) -> None:
    """Let pass an act that brings nothing suppressed, and let nothing be suppressed before it is committed.

    Raises:
        Barred: it brings something suppressed.
    """
    if not act.brings:
        return
    connection.beside(_work(act.tenant))
    if barred := _found(connection, act.tenant, act.brings):
        raise Barred(barred)


def changing(connection: Connection, tenant: TenantId, hashes: Sequence[bytes], *, lift: bool) -> list[bytes]:
    """Return those of *hashes* that are not yet as they are to be, each once; nobody comes in meanwhile."""
    connection.alone(_work(tenant))
    barred = _found(connection, tenant, hashes)
    return [hashed for hashed in dict.fromkeys(hashes) if (hashed in barred) == lift]


def change(connection: Connection, tenant: int, told: Suppressed) -> None:
    """Suppress, or lift, what the journal will be told."""
    if told.lift:
        connection.execute(_LIFT, (tenant, _written(told.hashes)))
    else:
        rows = [(tenant, hashed.hex(), micros(told.since)) for hashed in told.hashes]
        connection.executemany(_SUPPRESS, rows)


def _found(connection: Connection, tenant: TenantId, hashes: Iterable[bytes]) -> frozenset[bytes]:
    return _read(connection.execute(_AMONG, (tenant, _written(hashes))))


def _read(rows: Iterable[Sequence[str]]) -> frozenset[bytes]:
    return frozenset(bytes.fromhex(hashed) for (hashed,) in rows)


def _written(hashes: Iterable[bytes]) -> list[str]:
    return listed(hashed.hex() for hashed in hashes)


def _work(tenant: TenantId) -> str:
    return f"suppressions {tenant}"
