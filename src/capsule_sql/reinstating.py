"""What a restore puts back: subjects that the data has never heard of, and records as they were last written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from capsule_core.names import RecordId, SubjectKey, micros
from capsule_core.records import Mark, Sealed, Slot, Touched
from capsule_sql.indexing import lose
from capsule_sql.rows import touched_by
from capsule_sql.statements import EACH, Connection, listed
from capsule_sql.tenants import fresh_numbers
from capsule_sql.writing import forget_index

__all__ = ["recognise", "reinstate"]

_GONE: Final = int(Mark.FENCED | Mark.ERASED)
_UNION: Final = " | ".join(f"max(mark & {1 << bit})" for bit in range(7))
_KNOWN: Final = f"SELECT key FROM subjects WHERE tenant_no = ? AND key {EACH}"
_MEET: Final = """INSERT INTO subjects (no, tenant_no, key, page, place, marks, anywhere) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING"""
_PEOPLE: Final = f"SELECT key, no, page, place, anywhere FROM subjects WHERE tenant_no = ? AND key {EACH}"
_HELD: Final = f"SELECT id, no, subject_no, version, batch FROM records WHERE tenant_no = ? AND id {EACH}"
_COLUMNS: Final = "subject_no, kind, id, root, version, at, created, updated, batch, trashed, until, sealed, marks"
_INSERT: Final = f"INSERT INTO records (no, tenant_no, {_COLUMNS}) VALUES ({', '.join('?' * 15)})"
_UPDATE: Final = f"UPDATE records SET ({_COLUMNS}) = ({', '.join('?' * 13)}) WHERE no = ?"
_TWICE: Final = """DELETE FROM reasons WHERE subject_no = ? AND record = ? AND EXISTS (SELECT 1 FROM reasons o
    WHERE o.subject_no = ? AND o.id = reasons.id AND o.mark = reasons.mark AND o.record = reasons.record)"""
_HAND_OVER: Final = "UPDATE reasons SET subject_no = ? WHERE subject_no = ? AND record = ?"
_CARRIED: Final = f"""UPDATE records SET marks =
    coalesce((SELECT {_UNION} FROM reasons WHERE subject_no = ? AND record = ?), 0) WHERE no = ?"""
_ANYWHERE: Final = f"""UPDATE subjects SET anywhere =
    coalesce((SELECT {_UNION} FROM reasons WHERE subject_no = ?), 0) WHERE no = ?"""


@attrs.frozen
class _Person:
    no: int
    slot: Slot


@attrs.frozen
class _Held:
    no: int
    subject: int
    version: int
    batch: str | None


def recognise(connection: Connection, tenant: int, subjects: Mapping[SubjectKey, Slot]) -> None:
    """Make subjects known; one that is, or whose slot is another's, stays as it is."""
    known = {key for (key,) in connection.execute(_KNOWN, (tenant, listed(subjects)))}
    fresh = sorted(subjects.keys() - known)
    numbers = fresh_numbers(connection, "subjects", tenant, len(fresh))
    rows = [
        (no, tenant, key, subjects[key].page, subjects[key].index, 0, 0) for no, key in zip(numbers, fresh, strict=True)
    ]
    connection.executemany(_MEET, rows)


def reinstate(connection: Connection, tenant: int, records: Sequence[Sealed]) -> list[Touched]:
    """Put back those records that are older here, or elsewhere, or missing; the index of the tenant is missing then."""
    people = _people(connection, tenant, records)
    held = _held(connection, tenant, records)
    lacking = [each for each in records if _lacks(each, people.get(each.subject), held.get(each.id))]
    if not lacking:
        return []
    present = [held[each.id] for each in lacking if each.id in held]
    forget_index(connection, [each.no for each in present])
    fresh = [each for each in lacking if each.id not in held]
    numbers = dict(zip((e.id for e in fresh), fresh_numbers(connection, "records", tenant, len(fresh)), strict=True))
    connection.executemany(_INSERT, [(numbers[e.id], tenant, *_row(e, people[e.subject].no)) for e in fresh])
    changed = [each for each in lacking if each.id in held]
    connection.executemany(_UPDATE, [(*_row(e, people[e.subject].no), held[e.id].no) for e in changed])
    moved = [(e, held[e.id].subject, people[e.subject].no) for e in changed]
    _hand_over(connection, [each for each in moved if each[1] != each[2]])
    numbers |= {name: each.no for name, each in held.items()}
    marked = [(people[each.subject].no, each.id, numbers[each.id]) for each in lacking]
    connection.executemany(_CARRIED, marked)
    lose(connection, tenant)
    return [touched_by(each) for each in lacking]


def _people(connection: Connection, tenant: int, records: Sequence[Sealed]) -> dict[str, _Person]:
    rows = connection.execute(_PEOPLE, (tenant, listed({each.subject for each in records})))
    return {key: _Person(no, Slot(page, place)) for key, no, page, place, marks in rows if not marks & _GONE}


def _held(connection: Connection, tenant: int, records: Sequence[Sealed]) -> dict[RecordId, _Held]:
    rows = connection.execute(_HELD, (tenant, listed(each.id for each in records)))
    return {RecordId(name): _Held(*rest) for name, *rest in rows}


def _lacks(record: Sealed, person: _Person | None, held: _Held | None) -> bool:
    if person is None or person.slot != record.slot:
        return False
    if held is None or held.version < record.version:
        return True
    batch = record.trash.batch if record.trash else None
    return held.version == record.version and (held.subject, held.batch) != (person.no, batch)


def _row(record: Sealed, person: int) -> tuple[Any, ...]:
    trash = record.trash
    return (
        person,
        record.kind,
        record.id,
        record.root,
        record.version,
        micros(record.at),
        micros(record.created),
        micros(record.updated),
        trash and trash.batch,
        trash and micros(trash.at),
        trash and micros(trash.until),
        record.blob,
        0,
    )


def _hand_over(connection: Connection, moved: Sequence[tuple[Sealed, int, int]]) -> None:
    """Let the reasons of records go with them to other subjects."""
    connection.executemany(_TWICE, [(old, record.id, new) for record, old, new in moved])
    connection.executemany(_HAND_OVER, [(new, old, record.id) for record, old, new in moved])
    touched = sorted({number for _, old, new in moved for number in (old, new)})
    connection.executemany(_ANYWHERE, [(number, number) for number in touched])
