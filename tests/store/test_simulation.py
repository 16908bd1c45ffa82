"""Whatever the order, the failures and the crashes: what was acknowledged holds, and nothing happens twice or early."""

from __future__ import annotations

import os
from pathlib import Path

import attrs
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
from capsule_sql.records import SqlStore
from tests.conformance import mutants
from tests.store.simulation import Day, World

SEEDS = range(settings().max_examples)
FILES = (Role.DATA, Role.JOURNAL, Role.KEYSTORE)


def in_memory():
    ledger, journal = MemoryLedger(), MemoryJournal()
    return MemoryStore(ledger, journal), MemoryKeystore(), journal, ledger


@pytest.mark.law("L2", "L4", "L5", "L8")
@pytest.mark.parametrize("seed", SEEDS)
def test_in_memory_everything_that_was_acknowledged_holds(seed: int) -> None:
    Day(seed, in_memory()).live()


@pytest.mark.law("L2", "L4", "L5", "L8")
@pytest.mark.parametrize("seed", SEEDS[:: max(1, len(SEEDS) // 8)])
def test_on_disk_everything_that_was_acknowledged_holds(seed: int, folder: Path) -> None:
    data, log, keys = (open_database(folder / role.name.lower(), role) for role in FILES)
    journal = SqlJournal(log)
    Day(seed, (SqlStore(data, journal), SqlKeystore(keys, bytes(32), os.urandom), journal, SqlLedger(data))).live()
    for each in (data, log, keys):
        each.close()


@pytest.mark.parametrize(
    "broken", [mutants.IgnoresMarks, mutants.TwoLeaves, mutants.FencesTheHeld, mutants.LosesOneUpdate]
)
def test_a_store_that_breaks_a_law_is_caught(broken: type[MemoryStore]) -> None:
    for seed in range(200):
        ledger, journal = MemoryLedger(), MemoryJournal()
        try:
            Day(seed, (broken(ledger, journal), MemoryKeystore(), journal, ledger)).live()
        except AssertionError:
            return
    raise AssertionError("nobody noticed")


def test_a_day_is_repeated_by_its_seed() -> None:
    erased = 0
    for seed in range(20):
        first, again = (_lived(seed) for _ in range(2))
        assert first == again
        erased += len(first.erased)
    assert erased, "nobody was ever erased"


def _lived(seed: int) -> World:
    day = Day(seed, in_memory())
    day.live()
    return attrs.evolve(day.world, erased=dict.fromkeys(sorted(day.world.erased)))
