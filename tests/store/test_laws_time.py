"""Over thirty months nothing is destroyed early, late, or against what keeps it, on any adapter; closings included."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings

from capsule_core.calendar import LATEST
from capsule_core.closing import reopen_until
from capsule_core.journal import MemoryJournal
from capsule_core.ledger import MemoryLedger
from capsule_core.memory import MemoryKeystore, MemoryStore
from capsule_core.records import Mark
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
ABOUT = ("ended", "reopened", "too late", "postponed", "parted")
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
            journal, mirror = SqlJournal(log), opened("mirror", Role.KEYSTORE)  # type: ignore[arg-type]
            keystore = SqlKeystore(keys, bytes(32), os.urandom, mirror)  # type: ignore[arg-type]
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


def test_what_these_months_are_about_comes_to_pass_in_them() -> None:
    seen: Counter[str] = Counter()
    for seed in range(4):
        months = Months(seed, in_memory())
        months.live()
        seen += months.seen
    few = {each: seen[each] for each in ABOUT if seen[each] < 3}
    assert not few, f"too seldom: {few}"
    assert seen["destroyed"] > 50


WRONG = {
    "trashed for a day less": ("capsule_core.trash.PERIOD", timedelta(hours=696), "destroyed early"),
    "closed for a day less": (
        "capsule_core.dissolution.due",
        lambda closing, _: reopen_until(closing) - timedelta(days=1),
        "destroyed early",
    ),
    "closed for an hour more": (
        "capsule_core.dissolution.due",
        lambda closing, _: reopen_until(closing) + timedelta(hours=1),
        "should be gone|closed, reopened or begun",
    ),
    "a hold on the tenant passed over": (
        "capsule_core.dissolution.guarding",
        lambda *_: Mark.NONE,
        "closed, reopened or begun",
    ),
    "reopened when it is too late": ("capsule_core.closure.reopen_until", lambda _: LATEST, "reopened too late"),
    "destroyed before it is said": (
        "capsule_core.dissolution.Dissolution._begun",
        lambda *_: True,
        "reopened amid|closed, reopened or begun|destroyed early",
    ),
    "ended with something kept": (
        "capsule_core.dissolution.Dissolution._is_empty",
        lambda *_: True,
        "ended, and something is left",
    ),
    "ended with its keys": ("capsule_core.vault.Vault.close", lambda *_: None, "a key is left"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_goes_wrong_is_noticed(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    target, broken, noticed = WRONG[wrong]
    monkeypatch.setattr(target, broken)
    with pytest.raises(AssertionError, match=noticed):
        live_through(10)


def live_through(seeds: int) -> None:
    for seed in range(seeds):
        Months(seed, in_memory()).live()
