"""What was answered to a request, in a table."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from capsule_core.errors import RequestInFlight
from capsule_core.names import SubjectKey, TenantId, from_micros, micros
from capsule_core.records import Answer, Slot
from capsule_sql.tenants import TENANT

__all__ = ["answered", "forget", "give", "keep"]


def answered(connection: sqlite3.Connection, tenant: TenantId, key: bytes) -> Answer | None:
    """Return the answer kept under *key*."""
    select = f"SELECT digest, until, subject, page, place, body FROM answers WHERE tenant_no = {TENANT} AND key = ?"
    row = connection.execute(select, (tenant, key)).fetchone()
    if row is None:
        return None
    digest, until, subject, page, place, body = row
    return Answer(
        tenant=tenant,
        key=key,
        digest=digest,
        until=from_micros(until),
        subject=None if subject is None else SubjectKey(subject),
        slot=None if page is None else Slot(page, place),
        body=body,
    )


def give(connection: sqlite3.Connection, tenant: int, answer: Answer) -> None:
    """Keep the answer of an act.

    Raises:
        RequestInFlight: the same request has been answered.
    """
    if not keep(connection, tenant, answer):
        raise RequestInFlight


def keep(connection: sqlite3.Connection, tenant: int, answer: Answer) -> bool:
    """Keep an answer; one that is there stays. Return whether there was none."""
    insert = """INSERT INTO answers (tenant_no, key, digest, until, subject, page, place, body)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"""
    slot = (None, None) if answer.slot is None else (answer.slot.page, answer.slot.index)
    values = (tenant, answer.key, answer.digest, micros(answer.until), answer.subject, *slot, answer.body)
    return connection.execute(insert, values).rowcount == 1


def forget(connection: sqlite3.Connection, now: datetime) -> None:
    """Drop the answers whose time is over, in every tenant."""
    connection.execute("DELETE FROM answers WHERE until <= ?", (micros(now),))
