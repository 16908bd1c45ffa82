"""What a selection means in SQL.

``CROSS JOIN`` means what ``JOIN`` does, and keeps SQLite, which has no statistics here, from reordering the tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Self

import attrs

from capsule_core.names import RecordId, TenantId, micros
from capsule_core.records import Cursor, Mark, Shelf, Where
from capsule_sql.ageing import passed
from capsule_sql.rows import SEALED, TOUCHED, words
from capsule_sql.statements import EACH, TENANT, listed

__all__ = ["Query", "counting", "listing", "lock_bearers", "reading", "touching"]

_SHELVES: Final = {Shelf.LIVE: "r.trashed IS NULL", Shelf.TRASHED: "r.trashed IS NOT NULL"}
# Without statistics PostgreSQL takes the living for few, and would go through all of them for each record it looks up.
_ALIVE: Final = "/*lite*/r.trashed IS NULL/*end*/ /*pg coalesce(r.trashed, 0) = 0*/"
# Nor may it look among all that has a token, which may be a tag that everybody has, instead of among the record's own.
_HAS: Final = "/*lite*/t.token = ?/*end*/ /*pg (t.token + 0) = ? */"
_SIGNATURE: Final = ("s0", "s1", "s2", "s3")
_SUBJECT: Final = "CROSS JOIN subjects s ON s.no = r.subject_no"
_WHOLE: Final = f"records r {_SUBJECT}"
_NEWEST: Final = "ORDER BY at DESC, id DESC LIMIT ?"
_ONE: Final = f"SELECT {SEALED} FROM {_WHOLE} WHERE r.tenant_no = {TENANT} AND r.id = ?"
_MANY: Final = f"SELECT {SEALED} FROM {_WHOLE} WHERE r.tenant_no = {TENANT} AND r.id {EACH}"


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
    return Query(_ONE, [tenant, *ids]) if len(ids) == 1 else Query(_MANY, [tenant, listed(ids)])


def listing(where: Where, *, admits: Mark, limit: int, after: Cursor | None) -> Query:
    """Ask for up to *limit* of what is meant and admitted, newest first; only what is listed is fetched whole."""
    at = "f.at" if where.tokens else "r.at"  # the index of tokens is in the order of time too
    if where.past is not None:
        at = "r.at + 0"  # what is long past is found by when it was, and then sorted
    parts = [_meant(f"r.no, {at} AS at, r.id AS id", each, refused=int(~admits)) for each in _by_kind(where)]
    for part in parts:
        if after is not None:
            part.demand(f"({at}, r.id) < (?, ?)", micros(after.at), after.id)
        part.then(_NEWEST, limit)  # each kind lies in the order of time in an index of its own: nothing else is sorted
    found, *others = parts
    if others:
        members = " UNION ALL ".join(f"SELECT * FROM ({part.text}) AS part" for part in parts)
        found = Query(members, [value for part in parts for value in part.values]).then(_NEWEST, limit)
    whole = f"({found.text}) AS found CROSS JOIN records r ON r.no = found.no {_SUBJECT}"
    query = Query(f"SELECT {SEALED} FROM {whole}", found.values)
    # Said again: of a new tenant PostgreSQL believes that it has nothing, if it only hears of it by row security.
    return query.demand(f"r.tenant_no = {TENANT}", where.tenant).then("ORDER BY r.at DESC, r.id DESC")


def _by_kind(where: Where) -> list[Where]:
    """Ask for several kinds one by one where nothing but the kind names few records."""
    if where.kinds is None or len(where.kinds) < 2 or where.tokens or any(where.signature) or _names_few(where):
        return [where]
    return [attrs.evolve(where, kinds=(kind,)) for kind in dict.fromkeys(where.kinds)]


def _names_few(where: Where) -> bool:
    return any(each is not None for each in (where.ids, where.roots, where.subjects, where.batch, where.due))


def counting(where: Where, *, admits: Mark) -> Query:
    """Ask how many records are meant and admitted."""
    return _meant("count(*)", where, refused=int(~admits))


def touching(where: Where, *, refused: Mark, bearers: Sequence[int] | None = None) -> Query:
    """Ask for everything that is meant, carries none of the marks *refused*, and is one of *bearers*', if given."""
    query = _meant(TOUCHED, where, refused=int(refused))
    if bearers is not None:
        query.demand(f"r.subject_no {EACH}", listed(bearers))
    return query.then("ORDER BY r.no")


def lock_bearers(where: Where, *, refused: Mark) -> tuple[str, Sequence[Any]]:
    """Lock the subjects of what :func:`touching` would ask for, in the order of their numbers."""
    meant = _meant("r.subject_no", where, refused=int(refused))
    text = f"SELECT no FROM subjects WHERE no IN ({meant.text}) ORDER BY no FOR UPDATE"
    return text, meant.values


def _meant(columns: str, where: Where, *, refused: int) -> Query:
    """Begin with what names the fewest records, then say all that must hold."""
    halves = [(f"{name} & ? = ?", half) for name, half in zip(_SIGNATURE, words(where.signature), strict=True) if half]
    few = _names_few(where)
    first, *others = where.tokens or (None,)
    if first is not None:
        query = Query(f"SELECT {columns} FROM tokens f CROSS JOIN records r ON r.no = f.record_no {_SUBJECT}")
        query.demand(f"f.tenant_no = {TENANT} AND f.token = ?", where.tenant, first)
    elif halves and not few:
        query = Query(f"SELECT {columns} FROM signatures f CROSS JOIN records r ON r.no = f.record_no {_SUBJECT}")
        query.demand(f"/*lite*/f.record_no >= {TENANT} << 32/*end*/ /*pg f.tenant_no >= {TENANT} */", where.tenant)
        query.demand(f"/*lite*/f.record_no < ({TENANT} + 1) << 32/*end*/ /*pg f.tenant_no <= {TENANT} */", where.tenant)
        for condition, half in halves:
            query.demand(f"f.{condition}", half, half)
        halves = []
    elif where.subjects is not None:
        query = Query(f"SELECT {columns} FROM subjects s CROSS JOIN records r ON r.subject_no = s.no")
    else:
        query = Query(f"SELECT {columns} FROM records r {_SUBJECT}")
    query.demand(f"r.tenant_no = {TENANT}", where.tenant)
    for token in others:
        query.demand(f"EXISTS (SELECT 1 FROM tokens t WHERE t.record_no = r.no AND {_HAS})", token)
    for condition, half in halves:
        query.demand(f"EXISTS (SELECT 1 FROM signatures g WHERE g.record_no = r.no AND g.{condition})", half, half)
    led = few or first is not None or any(where.signature)
    if where.shelf in _SHELVES:
        query.demand(_ALIVE if led and where.shelf is Shelf.LIVE else _SHELVES[where.shelf])
    _narrow(query, where, led=led)
    return query.demand("(r.marks | s.marks) & ? = 0", refused)


def _narrow(query: Query, where: Where, *, led: bool) -> None:
    if where.ids is not None:
        query.demand(f"r.id {EACH}", listed(where.ids))
    if where.roots is not None:
        query.demand(f"r.root {EACH}", listed(where.roots))
    if where.subjects is not None:
        query.demand(f"s.tenant_no = {TENANT} AND s.key {EACH}", where.tenant, listed(where.subjects))
    if where.batch is not None:
        query.demand("r.trashed IS NOT NULL AND r.batch = ?", where.batch)
    if where.due is not None:
        query.demand("r.trashed IS NOT NULL AND r.until <= ?", micros(where.due))
    if where.past is not None:
        condition, values = passed(where.past)
        query.demand(condition, *values)
    if where.kinds is not None:
        # The index by kind and time is for whole lists; where something names fewer records, that must lead.
        column = "r.kind || ''" if led else "r.kind"
        query.demand(f"{column} IN ({', '.join('?' * len(where.kinds)) or 'NULL'})", *where.kinds)
