"""What a selection means in SQL.

``CROSS JOIN`` means what ``JOIN`` does, and keeps SQLite, which has no statistics here, from reordering the tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Self

import attrs

from capsule_core.names import RecordId, TenantId, micros
from capsule_core.records import Cursor, Mark, Shelf, Where
from capsule_sql.rows import SEALED, TOUCHED, words
from capsule_sql.tenants import EACH, TENANT, listed

__all__ = ["Query", "listing", "reading", "touching"]

_SHELVES: Final = {Shelf.LIVE: "r.trashed IS NULL", Shelf.TRASHED: "r.trashed IS NOT NULL"}
_UNADMITTED: Final = "(r.marks | s.marks) & ? = 0"
_JOINED: Final = "CROSS JOIN subjects s ON s.no = r.subject_no LEFT JOIN signatures g ON g.record_no = r.no"
_ONE: Final = f"SELECT {SEALED} FROM records r {_JOINED} WHERE r.tenant_no = {TENANT} AND r.id = ?"


@attrs.define
class Query:
    """A statement and its parameters, while it is being put together."""

    text: str
    values: list[Any] = attrs.Factory(list[Any])
    _word: str = attrs.field(default=" WHERE ", init=False)

    def demand(self, condition: str, *values: Any) -> Self:
        """Add a condition."""
        self.text += f"{self._word}{condition}"
        self.values += values
        self._word = " AND "
        return self

    def then(self, text: str, *values: Any) -> Self:
        """Add what comes after the conditions."""
        self.text += f" {text}"
        self.values += values
        return self


def reading(tenant: TenantId, ids: Sequence[RecordId]) -> Query:
    """Ask for the records named."""
    if len(ids) == 1:  # the most frequent question of all
        return Query(_ONE, [tenant, *ids])
    return _meant(SEALED, Where(tenant=tenant, ids=tuple(ids), shelf=Shelf.ANY))


def listing(where: Where, *, admits: Mark, limit: int, after: Cursor | None) -> Query:
    """Ask for up to *limit* of what is meant and admitted, newest first."""
    query = _meant(SEALED, where).demand(_UNADMITTED, int(~admits))
    if after is not None:
        query.demand("(r.at, r.id) < (?, ?)", micros(after.at), after.id)
    return query.then("ORDER BY r.at DESC, r.id DESC LIMIT ?", limit)


def touching(where: Where, *, refused: Mark) -> Query:
    """Ask for everything that is meant and carries none of the marks *refused*."""
    return _meant(TOUCHED, where).demand(_UNADMITTED, int(refused)).then("ORDER BY r.no")


def _meant(columns: str, where: Where) -> Query:
    masks = [(name, bits) for name, bits in zip(("s0", "s1", "s2", "s3"), words(where.signature), strict=True) if bits]
    few = [each for each in (where.ids, where.roots, where.subjects, where.batch, where.due) if each is not None]
    first, *others = where.tokens or (None,)
    if first is not None:
        query = _from(columns, "tokens f CROSS JOIN records r ON r.no = f.record_no")
        query.demand(f"f.tenant_no = {TENANT} AND f.token = ?", where.tenant, first)
    elif masks and not few:
        query = _from(columns, "signatures f CROSS JOIN records r ON r.no = f.record_no")
        query.demand(f"f.record_no >= {TENANT} << 32", where.tenant)
        query.demand(f"f.record_no < ({TENANT} + 1) << 32", where.tenant)
        for name, bits in masks:
            query.demand(f"f.{name} & ? = ?", bits, bits)
    else:
        query = _from(columns, "records r")
    query.demand(f"r.tenant_no = {TENANT}", where.tenant)
    for token in others:
        query.demand("EXISTS (SELECT 1 FROM tokens t WHERE t.record_no = r.no AND t.token = ?)", token)
    for name, bits in masks:
        query.demand(f"g.{name} & ? = ?", bits, bits)
    if where.shelf in _SHELVES:
        query.demand(_SHELVES[where.shelf])
    return _narrowed(query, where, driven=bool(few) or first is not None or bool(masks))


def _narrowed(query: Query, where: Where, *, driven: bool) -> Query:
    if where.ids is not None:
        query.demand(f"r.id IN {EACH}", listed(where.ids))
    if where.roots is not None:
        query.demand(f"r.root IN {EACH}", listed(where.roots))
    if where.subjects is not None:
        known = f"SELECT no FROM subjects WHERE tenant_no = {TENANT} AND key IN {EACH}"
        query.demand(f"r.subject_no IN ({known})", where.tenant, listed(where.subjects))
    if where.batch is not None:
        query.demand("r.trashed IS NOT NULL AND r.batch = ?", where.batch)
    if where.due is not None:
        query.demand("r.trashed IS NOT NULL AND r.until <= ?", micros(where.due))
    if where.kinds is not None:
        # The index by kind is for lists of a kind; where something names fewer records, that leads.
        column = "r.kind || ''" if driven else "r.kind"
        query.demand(f"{column} IN ({', '.join('?' * len(where.kinds))})", *where.kinds)
    return query


def _from(columns: str, source: str) -> Query:
    return Query(f"SELECT {columns} FROM {source} {_JOINED}")
