"""Over thirty months nothing is destroyed early, late, or against what keeps it, on any adapter."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings

from capsule_core.journal import MemoryJournal
from capsule_core.ledger import MemoryLedger
from capsule_core.memory import MemoryKeystore, MemoryStore
from capsule_sql.database import open_database
from capsule_sql.journals import SqlJournal
from capsule_sql.keystores import SqlKeystore
from capsule_sql.ledgers import SqlLedger
from capsule_sql.migration import Role
from capsule_sql.postgres import open_postgres
from capsule_sql.records import SqlStore
from tests.core.desk import Desk
from tests.store.months import Months

SEEDS = settings().max_examples
Make = Callable[[], Desk]


def in_memory() -> Make:
    ledger, journal = MemoryLedger(), MemoryJournal()
    store, keystore = MemoryStore(ledger, journal), MemoryKeystore()
    return lambda: Desk(store, keystore, journal, ledger)


@pytest.fixture(params=["files", "server"])
def stored(request: pytest.FixtureRequest, folder: Path) -> Iterator[Make]:
    with ExitStack() as stack:

        def opened(name: str, role: Role) -> object:
            if role is Role.DATA and request.param == "server":
                return stack.enter_context(closing(open_postgres(request.getfixturevalue("database").url, role)))
            return stack.enter_context(closing(open_database(folder / name, role)))

        def make() -> Desk:
            stack.pop_all().close()
            data, keys, log = (opened(role.name.lower(), role) for role in (Role.DATA, Role.KEYSTORE, Role.JOURNAL))
            journal = SqlJournal(log)  # type: ignore[arg-type]
            keystore = SqlKeystore(keys, bytes(32), os.urandom)  # type: ignore[arg-type]
            return Desk(SqlStore(data, journal), keystore, journal, SqlLedger(data))  # type: ignore[arg-type]

        yield make


@pytest.mark.law("L2", "L4", "L10")
@pytest.mark.parametrize("seed", range(max(4, SEEDS // 4)))
def test_in_memory_what_should_be_there_is_and_nothing_else(seed: int) -> None:
    Months(seed, in_memory()).live()


@pytest.mark.law("L2", "L4", "L10")
@pytest.mark.parametrize("seed", range(max(2, SEEDS // 20)))
def test_stored_what_should_be_there_is_and_nothing_else(stored: Make, seed: int) -> None:
    Months(seed, stored).live()


def test_people_are_destroyed_in_these_months() -> None:
    months = Months(3, in_memory())
    months.live()
    assert months.destroyed > 5


def test_a_sweep_that_destroys_a_day_early_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capsule_core.trash.PERIOD", timedelta(hours=696))
    with pytest.raises(AssertionError, match="destroyed early"):
        live_through(10)


def live_through(seeds: int) -> None:
    for seed in range(seeds):
        Months(seed, in_memory()).live()
