"""What is particular to a ledger in a table: it goes on after a restart, from any size, in every transaction."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.errors import InvalidField, Unavailable
from capsule_core.ledger import MemoryLedger, audit
from capsule_core.merkle import Frontier
from capsule_sql.database import Database, open_database
from capsule_sql.ledgers import SqlLedger, append
from capsule_sql.migration import Role


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(open_database(tmp_path / "log.db", Role.LEDGER)) as opened:
        yield opened


def leaves(count: int, start: int = 0) -> list[bytes]:
    return [b"leaf %d" % no for no in range(start, start + count)]


def test_a_restart_keeps_the_frontier_and_the_checkpoint(database: Database) -> None:
    ledger = SqlLedger(database)
    ledger.append(leaves(300))
    ledger.append(leaves(1, 300))
    ledger.keep("checkpoint 1")
    ledger.keep("checkpoint 2")
    head = ledger.head()
    database.close()
    with closing(open_database(database.path, Role.LEDGER)) as again:
        reopened = SqlLedger(again)
        assert reopened.head() == head == Frontier().append(leaves(301))
        assert reopened.latest() == "checkpoint 2"
        assert reopened.append(leaves(1, 301)) == Frontier().append(leaves(302))
        audit(reopened)


@given(st.lists(st.integers(0, 700), max_size=4), st.data())
def test_any_earlier_frontier_can_be_asked_for(batches: list[int], data: st.DataObject) -> None:
    memory = MemoryLedger()
    with TemporaryDirectory() as folder, closing(open_database(Path(folder) / "log.db", Role.LEDGER)) as opened:
        ledger = SqlLedger(opened)
        for count in batches:
            more = leaves(count, memory.head().size)
            assert ledger.append(more) == memory.append(more)
        total = sum(batches)
        size = data.draw(st.integers(0, total))
        assert ledger.at(size) == Frontier().append(leaves(size))
        assert ledger.read(size, 10) == memory.read(size, 10)
        with pytest.raises(InvalidField):
            ledger.at(total + 1)


def test_leaves_of_a_change_that_failed_are_not_in_the_log(database: Database) -> None:
    ledger = SqlLedger(database)
    ledger.append(leaves(255))

    def fail(connection) -> None:
        append(connection, leaves(2, 255))
        raise Unavailable

    with pytest.raises(Unavailable):
        database.write(fail)
    assert ledger.append(leaves(2, 255)) == Frontier().append(leaves(257))


def test_appends_of_many_threads_each_happen_once_and_in_one_order(database: Database) -> None:
    ledger = SqlLedger(database)

    def work(thread: int) -> None:
        for no in range(30):
            leaf = b"%d of %d" % (no, thread)
            at = ledger.append([leaf]).size
            assert ledger.read(at - 1, 1) == [leaf]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert audit(ledger).size == 240
    assert len(set(ledger.read(0, 500))) == 240


def test_only_the_newest_frontier_and_every_256th_are_kept(database: Database) -> None:
    ledger = SqlLedger(database)
    for count in (1, 1, 700, 3):
        ledger.append(leaves(count))
    sizes = database.read(lambda connection: connection.execute("SELECT size FROM frontiers").fetchall())
    assert sizes == [(256,), (512,), (705,)]
