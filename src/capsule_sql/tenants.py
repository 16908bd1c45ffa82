"""Tenants' numbers, and the numbers of their rows, which begin with them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Final

from capsule_core.names import TenantId

__all__ = ["EACH", "TENANT", "listed", "next_number", "numbered"]

TENANT: Final = "(SELECT no FROM tenants WHERE tenant = ?)"
"""Stands for a tenant's number where its id is the parameter; an unknown one matches nothing."""

EACH: Final = "(SELECT value FROM json_each(?))"
"""Stands for many values where one parameter made by :func:`listed` brings them."""

_ROWS: Final = 1 << 32


def listed(values: Iterable[int | str]) -> str:
    """Make one parameter of many values."""
    return json.dumps(list(values))


def numbered(connection: sqlite3.Connection, tenant: TenantId) -> int:
    """Return a tenant's number, given at first use; within a transaction that writes."""
    row = connection.execute("SELECT no FROM tenants WHERE tenant = ?", (tenant,)).fetchone()
    if row is None:
        insert = "INSERT INTO tenants (no, tenant) SELECT coalesce(max(no), 0) + 1, ? FROM tenants RETURNING no"
        (row,) = connection.execute(insert, (tenant,)).fetchall()
    return int(row[0])


def next_number(connection: sqlite3.Connection, table: str, tenant: int) -> int:
    """Return the number for the tenant's next row in *table*; within a transaction that writes."""
    newest = f"SELECT no FROM {table} WHERE no >= ? AND no < ? ORDER BY no DESC LIMIT 1"
    row = connection.execute(newest, (tenant * _ROWS, (tenant + 1) * _ROWS)).fetchone()
    return tenant * _ROWS + 1 if row is None else int(row[0]) + 1
