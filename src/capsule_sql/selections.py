"""What a selection means in SQL, and how its rows become records again."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs

from capsule_core.names import RecordId, SubjectKey, TenantId, from_micros, micros
from capsule_core.records import Cursor, Mark, Refused, Sealed, Shelf, Slot, Touched, Trash, Where
from capsule_sql.tenants import EACH, TENANT, listed

__all__ = ["Query", "listing", "reading", "sealed", "seen", "touched", "touching", "words"]

_TOUCHED: Final = "r.no, r.id, r.kind, s.key, s.page, s.place, r.version"
_SEALED: Final = f"""{_TOUCHED}, r.root, r.at, r.created, r.updated, r.sealed, r.batch, r.trashed, r.until, r.marks | s.marks,
  g.s0, g.s1, g.s2, g.s3, (SELECT group_concat(told) FROM (
    SELECT CASE WHEN t.claim = 0 THEN t.token ELSE '!' || t.token END AS told FROM tokens t WHERE t.record_no = r.no ORDER BY t.no
  ))"""
_SHELVES: Final = {Shelf.LIVE: "r.trashed IS NULL", Shelf.TRASHED: "r.trashed IS NOT NULL"}


@attrs.frozen
class Query:
    """A statement and its parameters."""

    text: str
    values: tuple[Any, ...]


def reading(tenant: TenantId, ids: Sequence[RecordId]) -> Query:
    """Ask for the records named."""
    return _joined(_SEALED, Where(tenant=tenant, ids=tuple(ids), shelf=Shelf.ANY), "", ())


def listing(where: Where, *, refused: Mark, limit: int, after: Cursor | None) -> Query:
    """Ask for a page of what is meant and carries none of the marks *refused*, newest first."""
    rest, values = " AND (r.marks | s.marks) & ? = 0", (int(refused),)
    if after is not None:
        rest, values = f"{rest} AND (r.at, r.id) < (?, ?)", (*values, micros(after.at), after.id)
    return _joined(_SEALED, where, f"{rest} ORDER BY r.at DESC, r.id DESC LIMIT ?", (*values, limit))


def touching(where: Where, *, refused: Mark) -> Query:
    """Ask for what a change touches: all that is meant and carries none of the marks *refused*."""
    return _joined(_TOUCHED, where, " AND (r.marks | s.marks) & ? = 0 ORDER BY r.no", (int(refused),))


def touched(row: Sequence[Any]) -> Touched:
    """Read a row that :func:`touching` asked for."""
    _, name, kind, subject, page, place, version = row
    return Touched(id=RecordId(name), kind=kind, subject=SubjectKey(subject), slot=Slot(page, place), version=version)


def sealed(tenant: TenantId, row: Sequence[Any]) -> Sealed:
    """Read a row that :func:`reading` or :func:`listing` asked for."""
    _, name, kind, subject, page, place, version, root, at, created, updated, blob, batch, trashed, until, marks = row[:16]
    told = row[20].split(",") if row[20] else ()
    return Sealed(
        tenant=tenant,
        kind=kind,
        id=RecordId(name),
        root=RecordId(root),
        subject=SubjectKey(subject),
        slot=Slot(page, place),
        version=version,
        at=from_micros(at),
        created=from_micros(created),
        updated=from_micros(updated),
        blob=blob,
        tokens=tuple(int(token.removeprefix("!")) for token in told),
        claims=tuple(int(token[1:]) for token in told if token[0] == "!"),
        signature=b"" if row[16] is None else struct.pack(">4q", *row[16:20]),
        trash=None if trashed is None else Trash(batch=batch, at=from_micros(trashed), until=from_micros(until)),
        marks=Mark(marks),
    )


def seen(record: Sealed, admits: Mark) -> Sealed | Refused:
    """Withhold a record that carries more than *admits*."""
    return Refused(record.marks) if record.marks & ~admits else record


def words(signature: bytes) -> tuple[int, ...]:
    """Split a signature into four signed numbers of 64 bits."""
    return struct.unpack(">4q", signature.rjust(32, b"\0"))


def _joined(columns: str, where: Where, rest: str, values: Iterable[Any]) -> Query:
    source, conditions, given = _meant(where)
    text = f"SELECT {columns} FROM {source} WHERE {' AND '.join(conditions)}{rest}"  # noqa: S608  only our own texts are joined
    return Query(text, (*given, *values))


def _meant(where: Where) -> tuple[str, list[str], list[Any]]:
    """Say which tables in which order, and what must hold; CROSS JOIN keeps SQLite from turning the order round."""
    conditions: list[str] = []
    values: list[Any] = []

    def demand(condition: str, *given: Any) -> None:
        conditions.append(condition)
        values.extend(given)

    first, *others = where.tokens or (None,)
    narrow = bool(where.tokens) or any(
        given is not None for given in (where.ids, where.roots, where.subjects, where.batch, where.due)
    )
    bits = _bits(where.signature)
    source = "records r"
    if first is not None:
        source = "tokens f CROSS JOIN records r ON r.no = f.record_no"
        demand(f"f.tenant_no = {TENANT} AND f.token = ?", where.tenant, first)
    elif bits and not narrow:
        source = "signatures f CROSS JOIN records r ON r.no = f.record_no"
        demand(f"f.record_no >= {TENANT} << 32 AND f.record_no < ({TENANT} + 1) << 32", where.tenant, where.tenant)
        demand(*_covering("f", bits))
    demand(f"r.tenant_no = {TENANT}", where.tenant)
    return source, conditions, values
