"""What was answered to a request, in a table."""

from __future__ import annotations

from datetime import datetime

from capsule_core.errors import RequestInFlight
from capsule_core.names import SubjectKey, TenantId, from_micros, micros
from capsule_core.records import Answer, Slot
from capsule_sql.statements import TENANT, Connection, Transactions
from capsule_sql.tenants import each_tenant

__all__ = ["answered", "forget", "give", "is_kept", "keep"]


def answered(database: Transactions, tenant: TenantId, key: bytes) -> Answer | None:
    """Return the answer kept under *key*."""
    select = f"SELECT digest, until, subject, page, place, body FROM answers WHERE tenant_no = {TENANT} AND key = ?"
    rows = database.rows(select, (tenant, key), tenant=tenant)
    if not rows:
        return None
    ((digest, until, subject, page, place, body),) = rows
    return Answer(
        tenant=tenant,
        key=key,
        digest=digest,
        until=from_micros(until),
        subject=None if subject is None else SubjectKey(subject),
        slot=None if page is None else Slot(page, place),
        body=body,
    )


def is_kept(connection: Connection, tenant: TenantId, key: bytes) -> bool:
    """Tell whether there is an answer under *key*."""
    select = f"SELECT 1 FROM answers WHERE tenant_no = {TENANT} AND key = ?"
    return bool(connection.execute(select, (tenant, key)).fetchall())


def give(connection: Connection, tenant: int, answer: Answer) -> None:
    """Keep the answer of an act.

    Raises:
        RequestInFlight: the same request has been answered.
    """
    if not keep(connection, tenant, answer):
        raise RequestInFlight


def keep(connection: Connection, tenant: int, answer: Answer) -> bool:
    """Keep an answer; one that is there stays. Return whether there was none."""
    insert = """INSERT INTO answers (tenant_no, key, digest, until, subject, page, place, body)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant_no, key) DO NOTHING RETURNING until"""
    slot = (None, None) if answer.slot is None else (answer.slot.page, answer.slot.index)
    values = (tenant, answer.key, answer.digest, micros(answer.until), answer.subject, *slot, answer.body)
    return bool(connection.execute(insert, values).fetchall())


def forget(connection: Connection, now: datetime) -> None:
    """Drop the answers whose time is over, in every tenant."""
    for number, _ in each_tenant(connection):
        connection.execute("DELETE FROM answers WHERE tenant_no = ? AND until <= ?", (number, micros(now)))
