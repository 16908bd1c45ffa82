"""Sweeps on the durable engine: many tenants of whom few have something due, and one that has a lot."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any, Final

import attrs

from capsule_core.names import ActorRef, RecordId, TenantId
from capsule_core.records import Act, Where
from capsule_core.repository import Draft
from capsule_core.stores import EVERYONE
from capsule_core.trash import PERIOD, thrown
from capsule_core.uses import Use, admits
from capsule_core.witness import bears_witness
from capsule_services.runtime.durable import open_engine
from capsule_services.runtime.engine import Pace
from capsule_services.runtime.log import made_log
from capsule_services.runtime.sweeping import JOB, Sweeps, Tally, sweeping
from tests.benchmarks.measuring import Goal, Result, Scale, Spent, spent
from tests.benchmarks.people import NOW, entry, person
from tests.benchmarks.rig import Rig, rigged

__all__ = ["sweeping_tenants"]

_RANGES: Final = 64
_SILENT: Final = made_log(StringIO(), service="contacts")
_LATER: Final = (NOW + PERIOD + timedelta(days=1)).astimezone(UTC)
_SOON: Final = 600.0


def sweeping_tenants(scale: Scale, folder: Path) -> Iterator[Result]:
    """Sweep a night's backlog of everybody, and a month's of one tenant."""
    with rigged(folder / "many") as rig:
        throw_away(rig, TenantId("template"), 1, at=NOW + 10 * PERIOD)
        for number in range(scale.swept_due):
            throw_away(rig, TenantId(f"due{number}"), 1)
    copy_tenant(folder / "many" / "data.db", "template", scale.swept)
    with rigged(folder / "many") as rig:
        looked = [spent(lambda: look(rig)) for _ in range(scale.rounds)]
        took, done = swept(rig, folder / "engine.db")
    assert done.subjects == scale.swept_due
    with rigged(folder / "one") as rig:
        throw_away(rig, TenantId("acme"), scale.erased, notes=scale.children)
        bulk, done = swept(rig, folder / "engine.db")
    assert done.subjects == scale.erased
    with rigged(folder / "single") as rig:
        throw_away(rig, TenantId("acme"), 1, notes=scale.children)
        single, _ = swept(rig, folder / "engine.db")
    yield from _told(scale, took=took, looked=looked, bulk=bulk, single=single)


def _told(scale: Scale, *, took: Spent, looked: Sequence[Spent], bulk: Spent, single: Spent) -> Iterator[Result]:
    yield Result(
        name="sweep",
        against=f"{scale.swept:,} tenants, {scale.swept_due:,} of them with somebody due; one worker, {_RANGES} ranges",
        unit="ms",
        figure=took.wall * 1e3,
        goal=Goal(60_000, at_most=True),
        ours=f"{took.wall:.1f} s ({took.cpu:.1f} s CPU)",
    )
    least = min(looked, key=lambda each: each.wall)
    yield Result(
        name="sweep",
        against=f"a look at {scale.swept:,} tenants with hardly anything due, as each minute has one",
        unit="ms",
        figure=least.wall * 1e3,
        ours=f"{least.wall / scale.swept * 1e6:.2f} us a tenant",
    )
    yield Result(
        name="expire in bulk",
        against=f"{scale.erased:,} people of one tenant, {scale.children} children each, on the engine",
        unit="/s",
        figure=scale.erased / bulk.wall,
        ours=f"{bulk.wall / scale.erased * 1e6:.0f} us ({bulk.cpu / scale.erased * 1e6:.0f} us CPU) a person",
    )
    yield Result(
        name="expire one",
        against="from the look that finds them to the receipt, on the engine",
        unit="ms",
        figure=single.wall * 1e3,
        ours=f"{single.cpu * 1e3:.0f} ms CPU",
    )


def throw_away(rig: Rig, tenant: TenantId, people: int, *, notes: int = 0, at: datetime = NOW) -> None:
    """Keep so many people and throw them away *at* a moment."""
    act = Act(tenant=tenant, actor=ActorRef("user", "u1"), verb="try", use=Use.IMPORT.value, at=NOW)
    everybody = [person(number) for number in range(people)]
    for start in range(0, people, 500):
        drafts = []
        for number, each in enumerate(everybody[start : start + 500], start=start):
            drafts.append(Draft(each))
            drafts += [Draft(entry(each.id, number * 1000 + n), root=RecordId(each.id)) for n in range(notes)]
        rig.holding.repository.add(drafts, act=act)
        roots = tuple(RecordId(each.id) for each in everybody[start : start + 500])
        act = attrs.evolve(act, witness=bears_witness(rig.holding.vault, act))
        rig.holding.repository.store.move(
            Where(tenant=tenant, roots=roots), thrown(f"b{start}", now=at), admits=admits(Use.EDIT), act=act
        )


def copy_tenant(file: Path, template: str, copies: int) -> None:
    """Let there be so many tenants more that have what *template* has; what is sealed of theirs nobody opens."""
    with closing(sqlite3.connect(file, isolation_level=None)) as data:
        (number,) = data.execute("SELECT no FROM tenants WHERE tenant = ?", (template,)).fetchone()
        (last,) = data.execute("SELECT max(no) FROM tenants").fetchone()
        data.execute("BEGIN IMMEDIATE")
        fresh = range(last + 1, last + 1 + copies)
        data.executemany("INSERT INTO tenants (no, tenant) VALUES (?, ?)", ((no, f"copy{no}") for no in fresh))
        for table in ("subjects", "records"):
            columns = [column for _, column, *_ in data.execute(f"PRAGMA table_info({table})")]
            (row,) = data.execute(f"SELECT * FROM {table} WHERE tenant_no = ?", (number,)).fetchall()  # noqa: S608
            marks = ", ".join("?" * len(columns))
            rows = (_moved(dict(zip(columns, row, strict=True)), number, no) for no in fresh)
            data.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)  # noqa: S608
        data.execute("COMMIT")


def _moved(row: dict[str, Any], source: int, target: int) -> tuple[Any, ...]:
    by = (target - source) << 32
    moved = {"tenant_no": target, "no": row["no"] + by}
    if "subject_no" in row:
        moved["subject_no"] = row["subject_no"] + by
    return tuple({**row, **moved}.values())


def look(rig: Rig) -> None:
    """Find out what is due, as each minute has it."""
    rig.holding.holder.expiry().waiting(_LATER, EVERYONE)


def swept(rig: Rig, file: Path) -> tuple[Spent, Tally]:
    """Sweep everything that is due then."""
    duties = [rig.holding.holder.expiry()]
    job = sweeping(duties, lambda: _LATER, lambda: None, _SILENT)
    total = Tally()
    engine = open_engine("bench", {JOB: job}, Pace(at_once=4), file=file, url=None)

    def body() -> None:
        nonlocal total
        total = _to_the_end(Sweeps(engine, duties, _RANGES, _SILENT))

    try:
        return spent(body), total
    finally:
        engine.forget(datetime.now(UTC) + timedelta(days=1))
        engine.close()


def _to_the_end(sweeps: Sweeps) -> Tally:
    total, until = Tally(), time.monotonic() + _SOON
    sweeps.begin(_LATER)
    while sweeps.under_way:
        assert time.monotonic() < until
        total += sweeps.collect()
        time.sleep(0.25)
    return total
