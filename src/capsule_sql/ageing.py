"""When what happened to people, as columns beside their keys; and conditions on it, as SQL that an index answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from capsule_core.errors import VersionMismatch
from capsule_core.moments import OF_PEOPLE, Before, Event, Events, Moment, Past
from capsule_core.names import SubjectKey, TenantId, from_micros, micros
from capsule_core.records import GONE, Expected, Sealed
from capsule_sql.statements import EACH, TENANT, Connection, Transactions, listed

__all__ = ["expect", "happen", "happened", "passed", "tick"]

_NEVER: Final = "1 = 0"
_COLUMNS: Final = {
    Event.CREATED: "r.created",
    Event.UPDATED: "r.updated",
    Event.TRASHED: "r.trashed",
    Event.RESTORED: "r.restored",
    Event.OPENED: "s.opened",
    Event.CONTACTED: "s.contacted",
    Event.RELATIONSHIP_ENDED: "s.ended",
    Event.CONSENT_WITHDRAWN: "s.withdrawn",
}
_SINCE_CREATED: Final = frozenset({Event.UPDATED, Event.OPENED, Event.CONTACTED})
_NULLABLE: Final = frozenset({Event.TRASHED, Event.RESTORED, Event.RELATIONSHIP_ENDED, Event.CONSENT_WITHDRAWN})
_HELD: Final = ", ".join(_COLUMNS[event] for event in OF_PEOPLE)
_HAPPENED: Final = f"SELECT s.key, {_HELD} FROM subjects s WHERE s.tenant_no = {TENANT} AND s.key {EACH}"
_LOCK: Final = f"SELECT no FROM subjects WHERE tenant_no = ? AND key {EACH} /*pg ORDER BY no FOR NO KEY UPDATE */"
_GONE: Final = f"marks & {int(GONE)} = 0"


def passed(past: Past) -> tuple[str, list[Any]]:
    """Write a condition on the record r and its subject s, and its values; first what an index answers of it."""
    bound = _came(past)
    texts = [] if bound is None else ["r.created <= ?"]
    values: list[Any] = [] if bound is None else [bound]
    for group in past.groups:
        conditions = [_condition(each) for each in group] or [(_NEVER, [])]
        texts.append(f"({' OR '.join(text for text, _ in conditions)})")
        values += [value for _, bound in conditions for value in bound]
    return " AND ".join(texts) or "1 = 1", values


def _came(past: Past) -> int | None:
    """Return when at the latest a record came in of which the condition can hold, if that is known."""
    found = [
        max(micros(each.at) for each in group if each.at is not None)
        for group in past.groups
        if any(each.at is not None for each in group)
        and all(each.event in _SINCE_CREATED or each.event is Event.CREATED for each in group)
    ]
    return min(found, default=None)


def _condition(before: Before) -> tuple[str, list[int]]:
    text, values = _began(before)
    if before.or_never and before.event in _NULLABLE:
        return f"({_COLUMNS[before.event]} IS NULL OR {text})", values
    return text, values


def _began(before: Before) -> tuple[str, list[int]]:
    if before.at is None:
        return _NEVER, []
    conditions = ["r.created <= ?"] if before.event in _SINCE_CREATED else []
    conditions.append(f"{_COLUMNS[before.event]} <= ?")
    if before.restarts:
        conditions.append("(r.restored IS NULL OR r.restored <= ?)")
    return f"({' AND '.join(conditions)})", [micros(before.at)] * len(conditions)


def happened(database: Transactions, tenant: TenantId, subjects: Sequence[SubjectKey]) -> list[Events]:
    """Tell when what happened to the subjects, as far as it was said."""
    rows = database.rows(_HAPPENED, (tenant, listed(subjects)), tenant=tenant)
    known = {key: dict(zip(OF_PEOPLE, moments, strict=True)) for key, *moments in rows}
    return [{event: from_micros(at) for event, at in known.get(key, {}).items() if at} for key in subjects]


def happen(connection: Connection, tenant: int, moments: Sequence[Moment]) -> None:
    """Keep moments, unless later ones are kept; nothing of those who are unknown or gone."""
    if not moments:
        return
    connection.execute(_LOCK, (tenant, listed({moment.subject for moment in moments}))).fetchall()
    undone: set[tuple[Event, SubjectKey]] = set()
    latest: dict[tuple[Event, SubjectKey], int] = {}
    for moment in moments:
        key = moment.event, moment.subject
        if moment.at is None:
            undone.add(key)
            latest.pop(key, None)
        else:
            latest[key] = max(micros(moment.at), latest.get(key, 0))
    for event in OF_PEOPLE:
        connection.executemany(_undone(event), [(tenant, subject) for each, subject in undone if each is event])
        later = [(at, at, tenant, subject) for (each, subject), at in latest.items() if each is event]
        connection.executemany(_later(event), later)


def tick(connection: Connection, tenant: int, records: Sequence[Sealed]) -> None:
    """Keep what was done with records, unless they were written over since."""
    rows = [(each.done, tenant, each.id, each.version) for each in sorted(records, key=lambda each: each.id)]
    connection.executemany("UPDATE records SET done = ? WHERE tenant_no = ? AND id = ? AND version = ?", rows)


def expect(connection: Connection, tenant: TenantId, expects: Sequence[Expected]) -> None:
    """Check that what happened to records happened as long ago as it is expected to have.

    Raises:
        VersionMismatch: one is not there, or something happened meanwhile.
    """
    for past in {each.past: None for each in expects if each.past is not None}:
        condition, values = passed(past)
        names = {each.id for each in expects if each.past == past}
        select = f"""SELECT count(*) FROM records r CROSS JOIN subjects s ON s.no = r.subject_no
            WHERE r.tenant_no = {TENANT} AND r.id {EACH} AND {condition}"""
        ((found,),) = connection.execute(select, (tenant, listed(names), *values)).fetchall()
        if found < len(names):
            raise VersionMismatch


def _later(event: Event) -> str:
    column = _COLUMNS[event].removeprefix("s.")
    kept = f"coalesce({column}, 0)"
    return f"""UPDATE subjects SET {column} = CASE WHEN {kept} < ? THEN ? ELSE {column} END
        WHERE tenant_no = ? AND key = ? AND {_GONE}"""


def _undone(event: Event) -> str:
    column = _COLUMNS[event].removeprefix("s.")
    nothing = "NULL" if event in _NULLABLE else "0"
    return f"UPDATE subjects SET {column} = {nothing} WHERE tenant_no = ? AND key = ? AND {_GONE}"
