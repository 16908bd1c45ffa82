"""Say anew what records are found by, after the index was lost."""

from __future__ import annotations

from collections.abc import Sequence

from capsule_core.names import TenantId
from capsule_core.records import FoundBy
from capsule_sql.rows import words
from capsule_sql.statements import EACH, Connection, Transactions, listed
from capsule_sql.writing import INSERT_SIGNATURES, INSERT_TOKENS, forget_index

__all__ = ["complete", "lose", "missing", "reindex"]

_LOCK = f"""SELECT no FROM subjects
    WHERE no IN (SELECT subject_no FROM records WHERE tenant_no = ? AND id {EACH}) ORDER BY no FOR NO KEY UPDATE"""
_PRESENT = f"SELECT id, no, at, trashed IS NOT NULL FROM records WHERE tenant_no = ? AND id {EACH}"


def reindex(connection: Connection, tenant: int, found_by: Sequence[FoundBy]) -> None:
    """Write what records are found by over what is there; a record that is gone stays gone."""
    values = (tenant, listed(found.id for found in found_by))
    if connection.shared:
        connection.execute(_LOCK, values)
    present = {name: rest for name, *rest in connection.execute(_PRESENT, values).fetchall()}
    forget_index(connection, [no for no, _, _ in present.values()])
    tokens: list[tuple[int, int, int, int, int]] = []
    signatures: list[tuple[int, ...]] = []
    for found in found_by:
        if found.id in present:
            no, at, trashed = present[found.id]
            claimed, distinct = 2 if trashed else 1, dict.fromkeys(found.tokens + found.claims)
            tokens += [(tenant, token, no, at, claimed if token in found.claims else 0) for token in distinct]
            if found.signature:
                signatures.append((tenant, no, *words(found.signature)))
    connection.executemany(INSERT_TOKENS, sorted(tokens))
    connection.executemany(INSERT_SIGNATURES, signatures)


def complete(connection: Connection, tenant: int) -> None:
    """Mark the index of a tenant as whole."""
    if connection.shared:
        connection.execute("INSERT INTO indexed (no) VALUES (?) ON CONFLICT (no) DO NOTHING", (tenant,))
    else:
        connection.execute("DELETE FROM unindexed WHERE no = ?", (tenant,))


def lose(connection: Connection, tenant: int) -> None:
    """Mark the index of a tenant as missing."""
    if connection.shared:
        connection.execute("DELETE FROM indexed WHERE no = ?", (tenant,))
    else:
        connection.execute("INSERT INTO unindexed (no) VALUES (?) ON CONFLICT (no) DO NOTHING", (tenant,))


def missing(database: Transactions) -> list[TenantId]:
    """Name the tenants whose index was lost."""
    select = "SELECT tenant FROM tenants t JOIN unindexed u ON u.no = t.no ORDER BY tenant"
    if database.shared:
        select = (
            "SELECT tenant FROM tenants t WHERE NOT EXISTS (SELECT 1 FROM indexed i WHERE i.no = t.no) ORDER BY tenant"
        )
    return [TenantId(tenant) for (tenant,) in database.rows(select, ())]
