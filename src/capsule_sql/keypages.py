"""Sealed key pages, in a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from capsule_core.journal import SealedPage
from capsule_core.names import TenantId
from capsule_core.pages import KeyMoved
from capsule_sql.statements import EACH, TENANT, Connection, Transactions, listed
from capsule_sql.tenants import each_tenant, numbered

__all__ = ["add", "has_pages", "newest", "pages", "reseal", "some"]


def add(connection: Connection, page: SealedPage) -> None:
    """Keep a new page.

    Raises:
        KeyMoved: its number is used.
    """
    insert = """INSERT INTO pages (tenant_no, page, generation, key_id, sealed) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (tenant_no, page) DO NOTHING RETURNING page"""
    tenant = numbered(connection, page.tenant)
    values = (tenant, page.number, page.generation, page.key_id, page.blob)
    if not connection.execute(insert, values).fetchall():
        raise KeyMoved


def pages(database: Transactions, tenant: TenantId, numbers: Sequence[int]) -> list[SealedPage | None]:
    """Return pages, in order; None for one that is not there."""
    select = f"SELECT page, generation, key_id, sealed FROM pages WHERE tenant_no = {TENANT} AND page {EACH}"
    found = {
        number: SealedPage(tenant=tenant, number=number, generation=generation, key_id=key_id, blob=sealed)
        for number, generation, key_id, sealed in database.rows(select, (tenant, listed(numbers)), tenant=tenant)
    }
    return [found.get(number) for number in numbers]


def reseal(connection: Connection, resealed: Sequence[SealedPage]) -> None:
    """Replace pages by newer generations; one that is as new or newer stays."""
    update = f"""UPDATE pages SET generation = ?, key_id = ?, sealed = ?
        WHERE tenant_no = {TENANT} AND page = ? AND generation < ?"""
    values = [(p.generation, p.key_id, p.blob, p.tenant, p.number, p.generation) for p in resealed]
    connection.executemany(update, values)


def newest(database: Transactions, tenant: TenantId) -> int:
    """Return the number of the newest page; 0 if there is none."""
    select = f"SELECT coalesce(max(page), 0) FROM pages WHERE tenant_no = {TENANT}"
    ((number,),) = database.rows(select, (tenant,), tenant=tenant)
    return int(number)


def has_pages(database: Transactions) -> bool:
    """Tell whether any tenant has a page."""
    return bool(some(database, 1))


def some(database: Transactions, limit: int) -> list[SealedPage]:
    """Return the newest page of each of the first *limit* tenants that have one."""

    def body(connection: Connection) -> list[SealedPage]:
        return list(islice(_newest_of_each(connection), limit))

    return database.read(body)


def _newest_of_each(connection: Connection) -> Iterator[SealedPage]:
    select = "SELECT page, generation, key_id, sealed FROM pages WHERE tenant_no = ? ORDER BY page DESC LIMIT 1"
    for no, tenant in each_tenant(connection):
        for page, generation, key_id, sealed in connection.execute(select, (no,)).fetchall():
            yield SealedPage(tenant=tenant, number=page, generation=generation, key_id=key_id, blob=sealed)
