"""Hand records over to other subjects, sealed anew under their keys: what is kept of a person who is erased."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from capsule_core.errors import VersionMismatch
from capsule_core.records import Sealed, Slot
from capsule_sql.statements import EACH, Connection, listed
from capsule_sql.tenants import fresh_numbers
from capsule_sql.writing import forget_index

__all__ = ["part"]


def part(connection: Connection, tenant: int, drafts: Sequence[Sealed]) -> None:
    """Let *drafts* take the place of the records of the same ids and versions; their reasons go with them.

    Raises:
        VersionMismatch: one is not there at that version, or its subject's key lies elsewhere.
    """
    if not drafts:
        return
    people = _people(connection, tenant, drafts)
    held = _held(connection, tenant, drafts)
    if any(held.get(draft.id, (0, 0, -1))[2] != draft.version for draft in drafts):
        raise VersionMismatch
    updates = [(people[draft.subject], draft.blob, held[draft.id][0]) for draft in drafts]
    connection.executemany("UPDATE records SET subject_no = ?, sealed = ? WHERE no = ?", updates)
    parted = [(people[draft.subject], held[draft.id][1], draft.id) for draft in drafts]
    moves = [(to, giver, name) for to, giver, name in parted if to != giver]
    connection.executemany(_MAKE_WAY, [(to, name, giver) for to, giver, name in moves])
    connection.executemany("UPDATE reasons SET subject_no = ? WHERE subject_no = ? AND record = ?", moves)
    connection.executemany(_MARK, [(to, name, held[name][0]) for to, _, name in moves])
    forget_index(connection, [no for no, _, _ in held.values()])
    touched = {*people.values(), *(subject for _, subject, _ in held.values())}
    connection.executemany(_CARRY, [(no, no) for no in sorted(touched)])


def _people(connection: Connection, tenant: int, drafts: Sequence[Sealed]) -> Mapping[str, int]:
    """Lock those who give and those who get, and make known who is not; return the numbers of those who get."""
    slots = {draft.subject: draft.slot for draft in drafts}
    ids = listed(draft.id for draft in drafts)
    givers = connection.execute(_GIVERS, (tenant, ids)).fetchall()
    keys = listed({*slots, *(key for (key,) in givers)})
    rows = connection.execute(_LOCK, (tenant, keys)).fetchall()
    known = {key: (no, Slot(page, place)) for key, no, page, place in rows}
    if any(known.get(key, (0, slot))[1] != slot for key, slot in slots.items()):
        raise VersionMismatch
    fresh = sorted(key for key in slots if key not in known)
    numbers = dict(zip(fresh, fresh_numbers(connection, "subjects", tenant, len(fresh)), strict=True))
    rows = [(numbers[key], tenant, key, slots[key].page, slots[key].index, 0, 0) for key in fresh]
    try:
        connection.executemany(_INSERT, rows)
    except sqlite3.IntegrityError:
        raise VersionMismatch from None
    return {**{key: no for key, (no, _) in known.items()}, **numbers}


def _held(connection: Connection, tenant: int, drafts: Sequence[Sealed]) -> Mapping[str, tuple[int, int, int]]:
    rows = connection.execute(_RECORDS, (tenant, listed(draft.id for draft in drafts)))
    return {name: (no, subject, version) for name, no, subject, version in rows}


_GIVERS: Final = f"""SELECT DISTINCT s.key FROM records r JOIN subjects s ON s.no = r.subject_no
    WHERE r.tenant_no = ? AND r.id {EACH}"""
_LOCK: Final = f"""SELECT key, no, page, place FROM subjects WHERE tenant_no = ? AND key {EACH}
    /*pg ORDER BY no FOR UPDATE */"""
_RECORDS: Final = f"SELECT id, no, subject_no, version FROM records WHERE tenant_no = ? AND id {EACH}"
_INSERT: Final = "INSERT INTO subjects (no, tenant_no, key, page, place, marks, anywhere) VALUES (?, ?, ?, ?, ?, ?, ?)"
_MAKE_WAY: Final = """DELETE FROM reasons WHERE subject_no = ? AND record = ? AND EXISTS (SELECT 1 FROM reasons moved
    WHERE moved.subject_no = ? AND moved.record = reasons.record AND moved.id = reasons.id
    AND moved.mark = reasons.mark)"""
_UNION: Final = " | ".join(f"max(mark & {1 << bit})" for bit in range(7))
_CARRY: Final = f"""UPDATE subjects SET anywhere =
    coalesce((SELECT {_UNION} FROM reasons WHERE subject_no = ?), 0) WHERE no = ?"""
_MARK: Final = f"""UPDATE records SET marks =
    coalesce((SELECT {_UNION} FROM reasons WHERE subject_no = ? AND record = ?), 0) WHERE no = ?"""
