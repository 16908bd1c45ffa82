"""What waits to be destroyed, over all tenants, in one statement: the sweep asks it again and again.

On PostgreSQL no statement sees the rows of two tenants. This one goes from tenant to tenant by itself: a row of
``tenants`` sets who may be seen before the rows that depend on it are looked for, which ``OFFSET 0`` keeps apart. To go
round for each tenant from here would be two messages a tenant, and take as many seconds as there are ten thousands.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from capsule_core.names import SubjectKey, TenantId, micros
from capsule_core.records import Reason
from capsule_core.stores import Share
from capsule_sql.guarding import UNGUARDED
from capsule_sql.marking import FREE, reason_in
from capsule_sql.statements import TENANT, Connection, Transactions

__all__ = ["due", "having", "people", "released", "releasing"]

_VISITING: Final = """tenants t
    JOIN LATERAL (SELECT set_config('capsule.tenant', t.no::text, true) AS no OFFSET 0) v ON true"""

_DUE: Final = """SELECT tenant FROM (
        SELECT t.tenant, (
            SELECT r.until FROM records r WHERE r.tenant_no = t.no AND r.trashed IS NOT NULL AND r.until <= ?
            ORDER BY r.until LIMIT 1
        ) AS first
        FROM tenants t WHERE t.no % ? = ?
    ) WHERE first IS NOT NULL ORDER BY first, tenant"""
_DUE_THERE: Final = f"""SELECT t.tenant FROM {_VISITING}
    JOIN LATERAL (
        SELECT r.until FROM records r WHERE r.tenant_no = v.no::bigint AND r.trashed IS NOT NULL AND r.until <= ?
        ORDER BY r.until LIMIT 1
    ) d ON true
    WHERE t.no % ? = ? ORDER BY d.until, t.tenant"""

_HAVING: Final = """SELECT t.tenant FROM tenants t WHERE EXISTS (
        SELECT 1 FROM records r WHERE r.tenant_no = t.no AND r.kind = ? AND r.trashed IS NULL
    ) AND t.no % ? = ? ORDER BY t.tenant"""
_HAVING_THERE: Final = f"""SELECT t.tenant FROM {_VISITING}
    JOIN LATERAL (
        SELECT 1 FROM records r WHERE r.tenant_no = v.no::bigint AND r.kind = ? AND r.trashed IS NULL LIMIT 1
    ) d ON true
    WHERE t.no % ? = ? ORDER BY t.tenant"""

_REASON: Final = "s.key, m.id, m.mark, m.record, m.since"
_RELEASED: Final = f"""SELECT t.tenant, {_REASON}
    FROM subjects s CROSS JOIN reasons m ON m.subject_no = s.no CROSS JOIN tenants t ON t.no = s.tenant_no
    WHERE (s.marks & 96) = 64 AND m.mark = 64 AND {{free}} AND {{which}} ORDER BY t.tenant, m.no"""
_RELEASED_THERE: Final = f"""SELECT t.tenant, k.key, k.id, k.mark, k.record, k.since FROM {_VISITING}
    JOIN LATERAL (
        SELECT {_REASON}, m.no FROM subjects s JOIN reasons m ON m.subject_no = s.no
        WHERE s.tenant_no = v.no::bigint AND (s.marks & 96) = 64 AND m.mark = 64 AND {{free}} OFFSET 0
    ) k ON true
    WHERE {{which}} ORDER BY t.tenant, k.no"""
_PEOPLE: Final = f"""SELECT key FROM subjects WHERE tenant_no = {TENANT} AND key > ? AND (marks & 112) = 0
    ORDER BY key LIMIT ?"""
_SHARE: Final = "t.no % ? = ?"
_ONE: Final = "t.tenant = ?"
# On SQLite said of the kept themselves: their index begins with whose they are, and nobody else's are read.
_SHARE_HERE: Final = "s.tenant_no % ? = ?"
_ONE_HERE: Final = f"s.tenant_no = {TENANT}"


def due(connection: Connection, now: datetime, share: Share) -> list[TenantId]:
    """Name the tenants that have trash whose time is over, first whose trash has been due for longest."""
    select = _DUE_THERE if connection.shared else _DUE
    values = (micros(now), share.of, share.number)
    return [TenantId(tenant) for (tenant,) in connection.execute(select, values).fetchall()]


def having(connection: Connection, kind: str, share: Share) -> list[TenantId]:
    """Name the tenants that have a living record of a kind."""
    select = _HAVING_THERE if connection.shared else _HAVING
    return [TenantId(tenant) for (tenant,) in connection.execute(select, (kind, share.of, share.number)).fetchall()]


def people(database: Transactions, tenant: TenantId, limit: int, after: SubjectKey | None) -> list[SubjectKey]:
    """Return up to *limit* subjects that are not gone, from the one *after* which a page ended."""
    return [SubjectKey(key) for (key,) in database.rows(_PEOPLE, (tenant, after or "", limit), tenant=tenant)]


def released(connection: Connection, of: Share | TenantId) -> list[tuple[TenantId, Reason]]:
    """Return why subjects were kept that nothing guards any more, or not all of their records."""
    rows = connection.execute(*releasing(of, shared=connection.shared)).fetchall()
    return [(TenantId(tenant), reason_in(row)) for tenant, *row in rows]


def releasing(of: Share | TenantId, *, shared: bool) -> tuple[str, Sequence[int | str]]:
    """Ask what :func:`released` returns, in one statement; on PostgreSQL others share the database."""
    values: Sequence[int | str]
    if isinstance(of, Share):
        which, values = (_SHARE if shared else _SHARE_HERE), (of.of, of.number)
    else:
        which, values = (_ONE if shared else _ONE_HERE), (of,)
    free = f"{FREE} AND {UNGUARDED}"
    return (_RELEASED_THERE if shared else _RELEASED).format(which=which, free=free), values
