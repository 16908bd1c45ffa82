"""Put reasons on subjects and records, or lift them; what is carried is always the union of what is left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from capsule_core.errors import VersionMismatch
from capsule_core.names import RecordId, SubjectKey, TenantId, from_micros, micros
from capsule_core.protection import EVERYBODY
from capsule_core.records import GUARDED, Act, Mark, Reason, Slot, Subject, Touched
from capsule_sql.guarding import UNGUARDED, before_destroying, guarded
from capsule_sql.rows import marks
from capsule_sql.statements import EACH, TENANT, Connection, Transactions, listed
from capsule_sql.tenants import each_tenant

__all__ = ["FREE", "Marking", "all_reasons", "expect_guards", "known", "reason_in", "unfinished"]

_OVER: Final = Mark.FENCED | Mark.ERASED
_FENCED: Final = int(Mark.FENCED)
_ERASED: Final = int(Mark.ERASED)
_NOTHING_HAPPENED: Final = ", opened = 0, contacted = 0, ended = NULL, withdrawn = NULL"
_UNGUARDED: Final = f"""SELECT 1 FROM records r CROSS JOIN subjects s ON s.no = r.subject_no
    WHERE r.tenant_no = {TENANT} AND r.id {EACH} AND (((r.marks | s.marks) & ?) <> 0 OR NOT {UNGUARDED}) LIMIT 1"""
FREE: Final = """(s.anywhere & 16) = 0 AND (s.marks & 7) = 0 AND ((s.anywhere & 7) = 0 OR EXISTS (
    SELECT 1 FROM records r WHERE r.tenant_no = s.tenant_no AND r.subject_no = s.no AND (r.marks & 7) = 0))"""
"""Holds for a subject s that is not fenced and that nothing guards, or not all of its records."""
_GUARDS: Final = f"""SELECT r.id, m.id FROM records r
    CROSS JOIN reasons m ON m.subject_no = r.subject_no AND m.record = r.id
    WHERE r.tenant_no = {TENANT} AND r.id {EACH} AND (m.mark & ?) <> 0"""
_Key = tuple[int, str, int, str]


@attrs.define
class Marking:
    """The reasons of some subjects of one tenant, read and changed within one transaction."""

    _connection: Connection
    _tenant: int
    _wanted: Sequence[Reason]
    _people: dict[str, tuple[int, Slot, int]] = attrs.field(init=False)
    _present: set[_Key] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        keys = listed({reason.subject for reason in self._wanted})
        people = f"""SELECT key, no, page, place, anywhere FROM subjects WHERE tenant_no = ? AND key {EACH}
            /*pg ORDER BY no FOR UPDATE */"""
        rows = self._connection.execute(people, (self._tenant, keys))
        self._people = {key: (no, Slot(page, place), anywhere) for key, no, page, place, anywhere in rows}
        present = f"SELECT subject_no, id, mark, record FROM reasons WHERE subject_no {EACH}"
        numbers = listed(no for no, _, _ in self._people.values())
        self._present = set(self._connection.execute(present, (numbers,)))

    def changing(self, *, lift: bool, admits: Mark) -> list[Reason]:
        """Return those reasons that change something: new ones that may be put, or present ones to lift; each once."""
        keyed = {self._key(reason): reason for reason in self._wanted if reason.subject in self._people}
        if lift:
            return [reason for key, reason in keyed.items() if key in self._present]
        fresh = [reason for key, reason in keyed.items() if key not in self._present]
        fenced = {reason.subject for reason in fresh if reason.mark is Mark.FENCED}
        others = guarded(self._connection, self._tenant, fenced) if fenced else {}
        return [reason for reason in fresh if self._may_be_put(reason, others, admits)]

    def touched(self, reasons: Iterable[Reason]) -> list[Touched]:
        """Say who got a reason, or lost one."""
        return [
            Touched(id=reason.record, kind="", subject=reason.subject, slot=self._people[reason.subject][1])
            for reason in reasons
        ]

    def put(self, reasons: Sequence[Reason]) -> None:
        """Put the reasons, and let their bearers carry the marks."""
        insert = "INSERT INTO reasons (tenant_no, subject_no, id, mark, record, since) VALUES (?, ?, ?, ?, ?, ?)"
        rows = [(self._tenant, *self._key(reason), micros(reason.since)) for reason in reasons]
        self._connection.executemany(insert, rows)
        self._present |= {self._key(reason) for reason in reasons}
        self._carry(reasons)

    def lift(self, reasons: Sequence[Reason]) -> None:
        """Lift the reasons; a mark stays while another reason for it does."""
        keys = [self._key(reason) for reason in reasons]
        delete = "DELETE FROM reasons WHERE subject_no = ? AND id = ? AND mark = ? AND record = ?"
        self._connection.executemany(delete, keys)
        self._present -= set(keys)
        self._carry(reasons)

    def _key(self, reason: Reason) -> _Key:
        return self._people[reason.subject][0], reason.id, int(reason.mark), reason.record or ""

    def _may_be_put(self, reason: Reason, others: Mapping[SubjectKey, int], admits: Mark) -> bool:
        *_, anywhere = self._people[reason.subject]
        if reason.mark is Mark.ERASED:
            return bool(anywhere & _FENCED)
        if reason.mark is not Mark.FENCED:
            return not anywhere & int(_OVER & ~admits)
        there = anywhere | others[reason.subject]
        return reason.subject != EVERYBODY and not there & int((_OVER | GUARDED) & ~admits)

    def _carry(self, reasons: Iterable[Reason]) -> None:
        """Write down the unions again, for the subjects and records concerned."""
        unions: dict[tuple[int, str], int] = defaultdict(int)
        anywhere: dict[int, int] = defaultdict(int)
        for no, _, mark, record in self._present:
            unions[no, record] |= mark
            anywhere[no] |= mark
        bearers = {(no, record) for no, _, _, record in map(self._key, reasons)}
        alike: dict[tuple[int, int], list[int]] = defaultdict(list)
        for no in {no for no, _ in bearers}:
            alike[unions[no, ""], anywhere[no]].append(no)
        for carried, people in alike.items():
            nothing = _NOTHING_HAPPENED if carried[0] & _ERASED else ""
            update = f"UPDATE subjects SET marks = ?, anywhere = ?{nothing} WHERE no {EACH}"
            self._connection.execute(update, (*carried, listed(people)))
        update = "UPDATE records SET marks = ? WHERE tenant_no = ? AND id = ? AND subject_no = ?"
        records = [(unions[no, record], self._tenant, record, no) for no, record in bearers if record]
        self._connection.executemany(update, records)


def expect_guards(connection: Connection, act: Act) -> None:
    """Let pass an act that finds records guarded by what it expects them to be guarded by.

    Raises:
        VersionMismatch: it does not.
    """
    _expect_unguarded(connection, act.tenant, [expected.id for expected in act.expects if expected.unguarded])
    wanted = {expected.id: expected.guards for expected in act.expects if expected.guards is not None}
    if not wanted:
        return
    found: dict[str, set[str]] = {name: set() for name in wanted}
    for name, reason in connection.execute(_GUARDS, (act.tenant, listed(wanted), int(GUARDED))):
        found[name].add(reason)
    if any(found[name] ^ guards for name, guards in wanted.items()):
        raise VersionMismatch


def _expect_unguarded(connection: Connection, tenant: TenantId, records: Sequence[RecordId]) -> None:
    if not records:
        return
    before_destroying(connection, tenant)
    marks = int(GUARDED)
    if connection.execute(_UNGUARDED, (tenant, listed(records), marks)).fetchall():
        raise VersionMismatch


def known(database: Transactions, tenant: TenantId, keys: Sequence[SubjectKey]) -> list[Subject | None]:
    """Return what is known of the subjects, in order."""
    select = f"SELECT key, page, place, marks FROM subjects WHERE tenant_no = {TENANT} AND key {EACH}"
    rows = database.rows(select, (tenant, listed(keys)), tenant=tenant)
    found = {key: Subject(key=key, slot=Slot(page, place), marks=marks(carried)) for key, page, place, carried in rows}
    return [found.get(key) for key in keys]


def all_reasons(database: Transactions, tenant: TenantId, subjects: Sequence[SubjectKey]) -> list[Reason]:
    """Return every reason that the subjects and their records carry."""
    select = f"""SELECT s.key, m.id, m.mark, m.record, m.since
        FROM subjects s CROSS JOIN reasons m ON m.subject_no = s.no
        WHERE s.tenant_no = {TENANT} AND s.key {EACH} ORDER BY m.no"""
    return [reason_in(row) for row in database.rows(select, (tenant, listed(subjects)), tenant=tenant)]


def unfinished(connection: Connection) -> list[tuple[TenantId, Reason]]:
    """Return the fences, in all tenants, of subjects that are not erased yet."""
    select = """SELECT s.key, m.id, m.mark, m.record, m.since
        FROM subjects s CROSS JOIN reasons m ON m.subject_no = s.no
        WHERE s.tenant_no = ? AND (s.anywhere & 16) <> 0 AND (s.marks & 32) = 0 AND m.mark = 16 ORDER BY m.no"""
    return [
        (tenant, reason_in(row))
        for number, tenant in each_tenant(connection)
        for row in connection.execute(select, (number,)).fetchall()
    ]


def reason_in(row: Sequence[Any]) -> Reason:
    """Read one reason: of a key, an id, a mark, a record and a moment."""
    subject, name, mark, record, since = row
    return Reason(
        id=name,
        mark=marks(mark),
        subject=SubjectKey(subject),
        since=from_micros(since),
        record=RecordId(record) if record else None,
    )
