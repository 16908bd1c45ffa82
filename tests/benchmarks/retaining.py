"""Retention: a decision; a policy as SQL against hand-written SQL and against Python; what is due among a million."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from capsule_core.contacts import Entry, Organisation, Person, Photo
from capsule_core.journal import MemoryJournal
from capsule_core.moments import Event
from capsule_core.names import RecordId, SubjectKey, TenantId, micros
from capsule_core.personal import kind_of
from capsule_core.policies import parse_policy, scope_of
from capsule_core.records import Mark, Shelf, Where
from capsule_core.retention import Facts, decide, past
from capsule_sql.database import Database, open_database
from capsule_sql.migration import Role
from capsule_sql.records import SqlStore
from tests.benchmarks.measuring import Goal, Result, Scale, interleaved, ratio, spent

__all__ = ["retaining"]

ACME = TenantId("acme")
NOW = datetime(2026, 11, 1, tzinfo=UTC)
KINDS = {each.name: each for each in map(kind_of, (Person, Organisation, Entry, Photo))}
POLICY = parse_policy(
    json.dumps(
        {
            "zone": "Europe/Berlin",
            "rules": [
                {"id": "leads", "effect": "trash", "since": "contacted", "period": "P3Y", "kinds": ["person"]},
                {"id": "old", "effect": "destroy", "since": "updated", "period": "P6Y", "kinds": ["person"]},
                {"id": "min", "effect": "keep", "since": "created", "period": "P1Y", "kinds": ["person"]},
            ],
        }
    ),
    KINDS,
)
SCOPE = scope_of(KINDS["person"])
_DAY = 86_400_000_000
_RECORD = """INSERT INTO records
    (no, tenant_no, subject_no, kind, id, root, version, at, created, updated, marks, sealed)
    VALUES (?, 1, ?, 'person', ?, ?, 1, ?, ?, ?, 0, ?)"""
_BY_HAND = """SELECT count(*) FROM records r JOIN subjects s ON s.no = r.subject_no
    WHERE r.tenant_no = 1 AND r.kind = 'person' AND r.trashed IS NULL
    AND ((r.created <= ? AND s.contacted <= ?) OR (r.created <= ? AND r.updated <= ?)) AND r.created <= ?
    AND (r.marks | s.marks) & 63 = 0"""


def retaining(scale: Scale, folder: Path) -> Iterator[Result]:
    """Decide on one, count what is past among many, and find the few that are due."""
    yield _deciding()
    database = open_database(folder / "data", Role.DATA)
    try:
        count = 1_000_000 if scale.imported > 1000 else 10_000
        _fill(database, count)
        store = SqlStore(database, MemoryJournal())
        yield from _counting(store, database, count, scale.rounds)
        yield _due(store, count, scale.rounds)
    finally:
        database.close()


def _deciding() -> Result:
    created = datetime(2020, 5, 4, tzinfo=UTC)
    facts = Facts(scope=SCOPE, events={Event.CREATED: created, Event.CONTACTED: created + timedelta(days=900)})
    best = min(_each(lambda: decide(facts, POLICY, NOW), 20_000) for _ in range(5))
    return Result(
        name="decide",
        against="three rules, a time zone",
        unit="us",
        figure=best,
        goal=Goal(5, at_most=True),
        ours=f"{best:.1f} us",
    )


def _each(call: Any, times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - began) / times * 1e6


def _counting(store: SqlStore, database: Database, count: int, rounds: int) -> Iterator[Result]:
    """Most of everybody is past: a scan, which no index spares."""
    now = NOW + timedelta(days=365 * 5)
    where = _past(now)
    cutoffs = [each.at for group in (where.past.groups if where.past else ()) for each in group]
    values = [micros(at) for at in (cutoffs[0], cutoffs[0], cutoffs[1], cutoffs[1], cutoffs[2]) if at]
    found = store.count(where, admits=Mark.NONE)
    assert found == database.rows(_BY_HAND, values)[0][0] > count // 2
    taken = interleaved(
        {
            "ours": lambda _: spent(lambda: store.count(where, admits=Mark.NONE)),
            "hand": lambda _: spent(lambda: database.rows(_BY_HAND, values)),
        },
        rounds,
    )
    rate = {name: count / min(side.cpu for side in sides) for name, sides in taken.items()}
    yield Result(
        name="policy as SQL",
        against=f"the same three rules written by hand, {count:,} rows, most of them past",
        unit="%",
        figure=100 * ratio(taken["hand"], taken["ours"], "cpu"),
        goal=Goal(50),
        ours=f"{rate['ours']:,.0f} rows/s",
        reference=f"{rate['hand']:,.0f} rows/s",
    )


def _due(store: SqlStore, count: int, rounds: int) -> Result:
    """Few are past: found by an index."""
    where = _past(NOW)
    found = store.count(where, admits=Mark.NONE)
    best = min(spent(lambda: store.count(where, admits=Mark.NONE)).wall for _ in range(max(3, rounds))) * 1000
    return Result(
        name="due count",
        against=f"{found:,} due among {count:,}, by index",
        unit="ms",
        figure=best,
        goal=Goal(20, at_most=True),
        ours=f"{best:.1f} ms",
    )


def _past(now: datetime) -> Where:
    return Where(tenant=ACME, shelf=Shelf.LIVE, kinds=("person",), past=past(POLICY, SCOPE, now))


def _fill(database: Database, count: int) -> None:
    """Put in what a store would, without sealing anything: contacted over three years, a thousandth of them before."""
    newest = micros(NOW)
    span = 3 * 365 * _DAY

    def age(number: int) -> int:
        return span + _DAY * 5 if number % 1000 == 0 else span * (number % 997) // 1000

    with_numbers = range(count)
    base = 1 << 32

    def body(connection: Any) -> None:
        connection.execute("INSERT INTO tenants (no, tenant) VALUES (1, ?)", (ACME,))
        connection.executemany(
            "INSERT INTO subjects (no, tenant_no, key, page, place, marks, anywhere, opened, contacted)"
            " VALUES (?, 1, ?, ?, ?, 0, 0, 0, ?)",
            [(base + n, SubjectKey(f"c{n:026d}"), 1 + n // 256, n % 256, newest - age(n)) for n in with_numbers],
        )
        connection.executemany(_RECORD, [_record(base + n, n, newest - age(n)) for n in with_numbers])

    database.write(body)


def _record(no: int, number: int, at: int) -> tuple[Any, ...]:
    name = RecordId(f"c{number:026d}")
    return no, no, name, name, at - _DAY, at - _DAY, at, b"x" * 200
