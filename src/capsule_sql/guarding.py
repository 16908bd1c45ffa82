"""What guards a subject because somebody else carries it: everybody of the tenant, or the person whose remnant it is.

Who lets something guard everybody waits until nobody is destroying in that tenant, and who destroys or fences waits
until nobody does that: so what was decided still holds when it is committed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import reduce
from operator import or_
from typing import Final

from capsule_core.names import SubjectKey, TenantId
from capsule_core.protection import EVERYBODY, protectors
from capsule_core.records import GUARDED, Mark, Reason
from capsule_sql.statements import EACH, Connection, listed

__all__ = ["UNGUARDED", "before_destroying", "before_marking", "guarded"]

_GUARDED: Final = int(GUARDED)
_CARRIED: Final = f"SELECT key, marks FROM subjects WHERE tenant_no = ? AND key {EACH} AND (marks & ?) <> 0"
UNGUARDED: Final = f"""NOT EXISTS (SELECT 1 FROM subjects g WHERE g.tenant_no = s.tenant_no
    AND g.key IN ('{EVERYBODY}', replace(s.key, '.kept', '')) AND (g.marks & {_GUARDED}) <> 0)"""
"""Holds for a subject s that nobody else guards."""


def before_destroying(connection: Connection, tenant: TenantId) -> None:
    """Let nothing guard everybody of the tenant until what is destroyed or fenced now is committed."""
    connection.beside(_work(tenant))


def before_marking(connection: Connection, tenant: TenantId, reasons: Sequence[Reason], *, lift: bool) -> None:
    """Wait for whoever destroys, if one of the reasons will guard everybody, or stand by them, if one is a fence."""
    if not lift and any(reason.subject == EVERYBODY and reason.mark & GUARDED for reason in reasons):
        connection.alone(_work(tenant))
    elif not lift and any(reason.mark is Mark.FENCED for reason in reasons):
        before_destroying(connection, tenant)


def guarded(connection: Connection, tenant: int, subjects: Collection[SubjectKey]) -> dict[SubjectKey, int]:
    """Return of each of the subjects the guards that somebody else carries for it."""
    others = {subject: protectors(subject) for subject in subjects}
    keys = listed({other for each in others.values() for other in each})
    carried: dict[str, int] = dict(connection.execute(_CARRIED, (tenant, keys, _GUARDED)).fetchall())
    return {subject: _union(carried.get(other, 0) for other in each) for subject, each in others.items()}


def _union(marks: Iterable[int]) -> int:
    return reduce(or_, marks, 0) & _GUARDED


def _work(tenant: TenantId) -> str:
    return f"holds {tenant}"
