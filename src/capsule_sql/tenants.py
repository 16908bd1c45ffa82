"""Tenants' numbers, and the numbers of their rows, which on SQLite begin with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from capsule_core.names import TenantId
from capsule_sql.statements import Connection

__all__ = ["each_tenant", "fresh_numbers", "numbered"]

_ROWS: Final = 1 << 32


def numbered(connection: Connection, tenant: TenantId) -> int:
    """Return a tenant's number, given at first use; within a transaction that writes."""
    if connection.tenant_no is not None:
        return connection.tenant_no
    row = connection.execute("SELECT no FROM tenants WHERE tenant = ?", (tenant,)).fetchone()
    if row is None:
        insert = "INSERT INTO tenants (no, tenant) SELECT coalesce(max(no), 0) + 1, ? FROM tenants RETURNING no"
        (row,) = connection.execute(insert, (tenant,)).fetchall()
    return int(row[0])


def fresh_numbers(connection: Connection, table: str, tenant: int, count: int) -> Sequence[int]:
    """Return the numbers for *count* new rows of the tenant in *table*; within a transaction that writes."""
    if connection.shared:
        rows = connection.execute("SELECT nextval('numbers') FROM generate_series(1, ?)", (count,)).fetchall()
        return [int(number) for (number,) in rows]
    newest = f"SELECT no FROM {table} WHERE no >= ? AND no < ? ORDER BY no DESC LIMIT 1"
    row = connection.execute(newest, (tenant * _ROWS, (tenant + 1) * _ROWS)).fetchone()
    first = tenant * _ROWS + 1 if row is None else int(row[0]) + 1
    return range(first, first + count)


def each_tenant(connection: Connection) -> Iterator[tuple[int, TenantId]]:
    """Go through all tenants, seeing the rows of one after the other."""
    for number, tenant in connection.execute("SELECT no, tenant FROM tenants ORDER BY tenant").fetchall():
        connection.within(number)
        yield number, TenantId(tenant)
