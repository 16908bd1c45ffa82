"""What a sweep would do, counted and not done: for each tenant and kind what goes, and what stays because of what."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import attrs

from capsule_core.names import TenantId, from_micros, micros
from capsule_core.protection import EVERYBODY
from capsule_core.records import GUARDED, Mark
from capsule_core.stores import EVERYONE
from capsule_sql import backlog
from capsule_sql.rows import marks
from capsule_sql.statements import Connection, Transactions

__all__ = ["Fate", "due_tenants", "fates"]

# A record that hangs on none is somebody's own: what guards any record of theirs guards them whole. What guards
# everybody guards each of them.
_FATES: Final = f"""SELECT r.kind, (CASE WHEN r.id = r.root THEN s.anywhere ELSE s.marks | r.marks END
            | coalesce((SELECT g.marks & {int(GUARDED)} FROM subjects g
                WHERE g.tenant_no = r.tenant_no AND g.key = '{EVERYBODY}'), 0)) & ? AS carried,
        r.id = r.root, count(*), min(r.until)
    FROM records r CROSS JOIN subjects s ON s.no = r.subject_no
    WHERE r.tenant_no = (SELECT no FROM tenants WHERE tenant = ?) AND r.trashed IS NOT NULL AND r.until <= ?
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""


@attrs.frozen(kw_only=True)
class Fate:
    """What awaits so many records of one kind of a tenant, the oldest due *since*; *guards* keep them, if there are.

    If they are *whole*, each is somebody's own record, and goes with everything that is kept of them.
    """

    tenant: TenantId
    kind: str
    count: int
    since: datetime
    whole: bool
    guards: Mark


def due_tenants(database: Transactions, now: datetime) -> list[TenantId]:
    """Name the tenants that have something due at *now*, the oldest first."""
    return database.read(lambda connection: backlog.due(connection, now, EVERYONE))


def fates(database: Transactions, tenant: TenantId, now: datetime) -> list[Fate]:
    """Say what awaits what is due of *tenant* at *now*."""

    def body(connection: Connection) -> list[Fate]:
        values = (int(GUARDED | Mark.FENCED | Mark.ERASED), tenant, micros(now))
        return list(_read(tenant, connection.execute(_FATES, values).fetchall()))

    return database.read(body, tenant=tenant)


def _read(tenant: TenantId, rows: list[tuple[str, int, bool, int, int]]) -> Iterator[Fate]:
    for kind, carried, whole, count, since in rows:
        yield Fate(
            tenant=tenant,
            kind=kind,
            count=count,
            since=from_micros(since),
            whole=bool(whole),
            guards=marks(carried),
        )
