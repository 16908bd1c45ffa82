"""What an inspection finds in the tables of a log is what it finds in the model of them, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capsule_core.checkpoints import Checkpoint
from capsule_core.inspection import inspect
from capsule_core.merkle import BLOCK, Frontier, verify_consistency, verify_inclusion
from capsule_core.merkle import leaf_hash as hashed
from capsule_core.proofs import prove_consistency, prove_inclusion
from capsule_sql.database import open_database
from capsule_sql.evidence import SqlEvidence
from capsule_sql.ledgers import SqlLedger
from capsule_sql.migration import Role
from capsule_sql.postgres import open_postgres
from tests.core.tampering import LEAVES, NOTES, Found, first_wrong

LENGTH = 2 * BLOCK + 77
HONEST = [b"leaf %d" % number for number in range(LENGTH)]
CHECKPOINT = Checkpoint("contacts", LENGTH, Frontier().append(HONEST).root())

Write = Callable[[Found], None]


@pytest.fixture(params=["sqlite", "postgres"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, Write]]:
    """A database with an empty log, and how somebody who owns it writes its tables."""
    if request.param == "sqlite":
        opened: Any = open_database(tmp_path / "log.db", Role.LEDGER)
        yield opened, lambda found: opened.write(lambda connection: _write(connection, found, "?"))
        opened.close()
        return
    database = request.getfixturevalue("database")
    opened = open_postgres(database.url, Role.LEDGER)
    with psycopg.connect(database.admin_url, options="-c search_path=reads") as owner:

        def write(found: Found) -> None:
            with owner.transaction(), owner.cursor() as cursor:
                _write(cursor, found, "%s")

        yield opened, write
    opened.close()


def _write(connection: Any, found: Found, mark: str) -> None:
    connection.execute("DELETE FROM leaves")
    connection.execute("DELETE FROM frontiers")
    leaves, frontiers = list(found.leaves.items()), list(found.frontiers.items())
    connection.executemany("INSERT INTO leaves (no, data) VALUES (?, ?)".replace("?", mark), leaves)
    if frontiers:
        connection.executemany("INSERT INTO frontiers (size, frontier) VALUES (?, ?)".replace("?", mark), frontiers)


@pytest.mark.law("L8")
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    at=st.integers(0, LENGTH - 1) | st.sampled_from([0, BLOCK - 1, BLOCK, 2 * BLOCK]),
    how=st.sampled_from(sorted(LEAVES)),
    hide=st.sampled_from(sorted(NOTES)),
)
def test_the_tables_tell_what_the_model_tells(log: tuple[Any, Write], at: int, how: str, hide: str) -> None:
    database, write = log
    found = Found.of(HONEST)
    LEAVES[how](found, at)
    NOTES[hide](found)
    write(found)
    told, wrong = inspect(SqlEvidence(database), CHECKPOINT), first_wrong(found, HONEST)
    assert told == inspect(found, CHECKPOINT)
    assert inspect(SqlEvidence(database)) == inspect(found)
    if wrong < LENGTH:
        assert told.fault is not None
        assert told.fault.first <= wrong <= told.fault.last


def test_what_a_log_wrote_itself_is_whole_while_it_grows_on(log: tuple[Any, Write]) -> None:
    database, _ = log
    ledger, asked = SqlLedger(database), 0
    for count in (1, BLOCK - 1, 3, 2 * BLOCK):
        ledger.append([b"leaf %d" % number for number in range(asked, asked + count)])
        asked += count
    head = ledger.head()
    against = Checkpoint("contacts", head.size, head.root())

    def grow(_: int, __: object) -> None:
        ledger.append([b"more"])

    told = inspect(SqlEvidence(database), against, told=grow)
    assert (told.size, told.fault) == (head.size, None)
    assert inspect(SqlEvidence(database), against).size == ledger.head().size


def test_an_empty_log_is_whole(log: tuple[Any, Write]) -> None:
    told = inspect(SqlEvidence(log[0]))
    assert (told.size, told.fault) == (0, None)


def test_proofs_are_made_from_the_tables(log: tuple[Any, Write]) -> None:
    database, write = log
    write(Found.of(HONEST))
    ledger = SqlLedger(database)
    for index, size in ((0, 1), (0, LENGTH), (BLOCK, 2 * BLOCK), (BLOCK + 5, LENGTH), (LENGTH - 1, LENGTH)):
        path = prove_inclusion(ledger, index, size)
        verify_inclusion(hashed(HONEST[index]), index, size, path, ledger.at(size).root())
    for first, second in ((1, LENGTH), (BLOCK, 2 * BLOCK), (BLOCK + 7, LENGTH), (LENGTH, LENGTH)):
        path = prove_consistency(ledger, first, second)
        verify_consistency(first, second, path, ledger.at(first).root(), ledger.at(second).root())
