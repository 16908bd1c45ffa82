"""What is particular to records in SQLite: what is left in the files, what a crash leaves, which index is used."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from random import Random

import attrs
import pytest

from capsule_core.errors import IdentifierTaken, RequestInFlight, Unavailable, VersionMismatch
from capsule_core.journal import Marked, MemoryJournal
from capsule_core.ledger import audit
from capsule_core.names import ActorRef, RecordId, SubjectKey, TenantId, from_micros
from capsule_core.records import (
    Act,
    Answer,
    Mark,
    MarksRefused,
    Reason,
    Restore,
    Sealed,
    Shelf,
    Slot,
    Trash,
    Where,
)
from capsule_core.stores import Share
from capsule_sql.backlog import releasing
from capsule_sql.database import Database, open_database
from capsule_sql.ledgers import SqlLedger
from capsule_sql.migration import Role
from capsule_sql.records import SqlStore
from capsule_sql.selections import Query, listing, touching

ACME, OTHER = TenantId("acme"), TenantId("other")
NOW = from_micros(1_700_000_000_000_000)
SOON = Trash(batch="b1", at=NOW, until=NOW + timedelta(days=30))
RANDOM = Random(11)  # noqa: S311  bytes that a test can search for


def act(verb: str = "test", tenant: TenantId = ACME, **more) -> Act:
    return Act(
        tenant=tenant,
        actor=ActorRef("user", "u1"),
        verb=verb,
        use="edit",
        at=NOW,
        witness=lambda touched: f"{verb} {len(touched)}".encode() if touched else None,
        **more,
    )


def draft(no: int, tenant: TenantId = ACME, **more) -> Sealed:
    record = Sealed(
        tenant=tenant,
        kind="person",
        id=RecordId(f"r{no}"),
        root=RecordId(f"r{no}"),
        subject=SubjectKey(f"s{no}"),
        slot=Slot(1 + no // 256, no % 256),
        version=1,
        at=NOW + timedelta(microseconds=no),
        created=NOW,
        updated=NOW,
        blob=RANDOM.randbytes(300),
        tokens=(no, -no - 1),
        signature=RANDOM.randbytes(32),
    )
    return attrs.evolve(record, **more)


def hold(no: int, mark: Mark = Mark.HELD) -> Reason:
    return Reason(id="h1", mark=mark, subject=SubjectKey(f"s{no}"), since=NOW)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(open_database(tmp_path / "data.db", Role.DATA)) as opened:
        yield opened


@pytest.fixture
def store(database: Database) -> SqlStore:
    return SqlStore(database, MemoryJournal())


def count(database: Database, table: str) -> int:
    return database.read(lambda connection: connection.execute(f"SELECT count(*) FROM {table}").fetchone())[0]  # noqa: S608


def test_nothing_of_a_destroyed_record_is_left_in_the_files(database: Database, store: SqlStore) -> None:
    drafts = [draft(no, tokens=(RANDOM.getrandbits(62) | 1 << 62,)) for no in range(600)]
    store.write(drafts, admits=Mark.NONE, act=act())
    database.checkpoint()

    def traces(each: Sealed, content: bytes) -> bool:
        words = (each.blob[:64], each.blob[-64:], each.signature[:8], each.tokens[0].to_bytes(8, "big"))
        return any(word in content for word in words)

    written = database.path.read_bytes()
    assert all(traces(each, written) for each in drafts)
    gone = drafts[::2]
    store.destroy(Where(tenant=ACME, ids=tuple(each.id for each in gone)), admits=Mark.NONE, act=act())
    database.checkpoint()
    left = b"".join(path.read_bytes() for path in database.path.parent.iterdir())
    assert [each.id for each in gone if traces(each, left)] == []
    assert all(traces(each, left) for each in drafts[1::2])


@pytest.mark.law("L1")
def test_what_one_tenant_does_changes_no_row_of_another(database: Database, store: SqlStore) -> None:
    store.write([draft(1, OTHER, claims=(1,)), draft(2, OTHER)], admits=Mark.NONE, act=act(tenant=OTHER))
    store.move(Where(tenant=OTHER, ids=(RecordId("r2"),)), SOON, admits=Mark.NONE, act=act(tenant=OTHER))

    def theirs() -> list[list[tuple[object, ...]]]:
        tables = {"records": "tenant_no", "subjects": "tenant_no", "tokens": "tenant_no"}
        mine = "SELECT * FROM {} WHERE {} = (SELECT no FROM tenants WHERE tenant = 'other')"
        return [database.read(lambda c, t=t, k=k: c.execute(mine.format(t, k)).fetchall()) for t, k in tables.items()]

    before = theirs()
    everything = Where(tenant=ACME, shelf=Shelf.ANY)
    store.write([draft(1, claims=(1,)), draft(2)], admits=Mark.NONE, act=act())
    store.move(everything, SOON, admits=Mark.NONE, act=act())
    store.move(everything, Restore("b1"), admits=Mark.NONE, act=act())
    store.mark([hold(1)], act=act())
    store.destroy(everything, admits=Mark.HELD, act=act())
    assert theirs() == before
    assert count(database, "records") == 2


def test_statements_do_not_grow_with_the_records_touched(database: Database, store: SqlStore) -> None:
    store.write([draft(no, root=RecordId("r0"), claims=(no,)) for no in range(500)], admits=Mark.NONE, act=act())

    def statements(where: Where) -> list[int]:
        seen: list[str] = []
        counted: list[int] = []
        database._writer.set_trace_callback(seen.append)
        store.move(where, SOON, admits=Mark.NONE, act=act())
        counted.append(len(seen))
        store.move(Where(tenant=ACME), Restore("b1"), admits=Mark.NONE, act=act())
        counted.append(len(seen))
        store.destroy(where, admits=Mark.NONE, act=act())
        counted.append(len(seen))
        database._writer.set_trace_callback(None)
        return counted

    one = statements(Where(tenant=ACME, ids=(RecordId("r7"),)))
    assert statements(Where(tenant=ACME, roots=(RecordId("r0"),))) == one
    assert count(database, "records") == count(database, "tokens") == count(database, "signatures") == 0


def test_a_witness_that_fails_leaves_nothing_behind(database: Database, store: SqlStore) -> None:
    def fail(_: object) -> bytes:
        raise Unavailable

    with pytest.raises(Unavailable):
        store.write([draft(1)], admits=Mark.NONE, act=attrs.evolve(act(), witness=fail))
    tables = ("tenants", "subjects", "records", "tokens", "signatures", "leaves")
    assert {table: count(database, table) for table in tables} == dict.fromkeys(tables, 0)


def test_of_those_who_write_the_same_thing_at_once_one_succeeds(database: Database, store: SqlStore) -> None:
    store.write([draft(0, claims=(5,))], admits=Mark.NONE, act=act())
    store.move(Where(tenant=ACME), SOON, admits=Mark.NONE, act=act())
    answer = Answer(tenant=ACME, key=b"k", digest=b"d", until=NOW)

    def outcome(attempt: int) -> str:
        tries = {
            "claim": lambda: store.write([draft(10 + attempt, claims=(5,))], admits=Mark.NONE, act=act()),
            "request": lambda: store.write([draft(30 + attempt)], admits=Mark.NONE, act=act(answer=answer)),
            "version": lambda: store.write([draft(50)], admits=Mark.NONE, act=act()),
        }
        name = list(tries)[attempt % 3]
        try:
            tries[name]()
        except (IdentifierTaken, RequestInFlight, VersionMismatch) as refused:
            return f"{name} {type(refused).__name__}"
        return f"{name} done"

    with ThreadPoolExecutor(8) as pool:
        outcomes = sorted(pool.map(outcome, range(18)))
    refusals = ["claim IdentifierTaken", "request RequestInFlight", "version VersionMismatch"]
    assert outcomes == sorted([*refusals * 5, "claim done", "request done", "version done"])
    with pytest.raises(IdentifierTaken):
        store.move(Where(tenant=ACME), Restore("b1"), admits=Mark.NONE, act=act())
    assert audit(SqlLedger(database)).size == 5


@pytest.mark.law("L5")
def test_no_write_slips_behind_a_fence(store: SqlStore) -> None:
    store.write([draft(1)], admits=Mark.NONE, act=act())

    def edit(_: int) -> bool:
        (held,) = store.read(ACME, [RecordId("r1")], admits=Mark(63))
        assert isinstance(held, Sealed)
        try:
            store.write([attrs.evolve(held, version=held.version + 1)], admits=Mark.NONE, act=act())
        except (MarksRefused, VersionMismatch):
            return False
        return True

    def fence() -> int:
        store.mark([hold(1, Mark.FENCED)], act=act())
        (held,) = store.read(ACME, [RecordId("r1")], admits=Mark(63))
        assert isinstance(held, Sealed)
        return held.version

    with ThreadPoolExecutor(8) as pool:
        edits = [pool.submit(edit, no) for no in range(40)]
        fenced = pool.submit(fence)
        late = [pool.submit(edit, no) for no in range(40)]
        written = sum(each.result() for each in (*edits, *late))
    assert fenced.result() == 1 + written


CRASH = """
import os, signal, sys
from pathlib import Path
from capsule_core.journal import MemoryJournal
from capsule_sql.database import open_database
from capsule_sql.migration import Role
from capsule_sql.records import SqlStore
from tests.store.test_sqlite_records import Mark, act, draft, hold

class Dying(MemoryJournal):
    def append(self, entries):
        os.kill(os.getpid(), signal.SIGKILL)

store = SqlStore(open_database(Path(sys.argv[1]), Role.DATA), Dying())
store.write([draft(1), draft(2)], admits=Mark.NONE, act=act("write"))
store.mark([hold(1)], act=act("hold"))
"""


def test_what_a_crash_left_unshipped_is_shipped_when_the_store_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    died = subprocess.run([sys.executable, "-c", CRASH, str(path)], check=False, cwd=Path(__file__).parents[2])
    assert died.returncode == -signal.SIGKILL
    with closing(open_database(path, Role.DATA)) as database:
        journal = MemoryJournal()
        store = SqlStore(database, journal)
        assert [entry for _, entry in journal.since(0)] == [
            Marked(tenant=ACME, reasons=(hold(1),), slots=(draft(1).slot,))
        ]
        assert [each and each.marks for each in store.subjects(ACME, [SubjectKey("s1")])] == [Mark.HELD]
        assert SqlLedger(database).read(0, 9) == [b"write 2", b"hold 1"]
        SqlStore(database, journal)
        assert len(list(journal.since(0))) == 1


def test_an_entry_the_journal_refused_is_shipped_with_the_next_one(database: Database) -> None:
    class Failing(MemoryJournal):
        failing = False

        def append(self, entries) -> int:
            if self.failing:
                raise Unavailable
            return super().append(entries)

    journal = Failing()
    store = SqlStore(database, journal)
    store.write([draft(1)], admits=Mark.NONE, act=act())
    journal.failing = True
    with pytest.raises(Unavailable):
        store.mark([hold(1)], act=act())
    journal.failing = False
    store.mark([hold(1)], act=act())
    assert [entry for _, entry in journal.since(0)] == [Marked(tenant=ACME, reasons=(hold(1),), slots=(draft(1).slot,))]


def planned(database: Database, query: Query) -> list[str]:
    rows = database.read(lambda c: c.execute(f"EXPLAIN QUERY PLAN {query.text}", query.values).fetchall())
    return [step for *_, step in rows]


@pytest.mark.parametrize(
    ("where", "index"),
    [
        (Where(tenant=ACME, kinds=("person",)), "USING INDEX ix_records_"),
        (Where(tenant=ACME, kinds=("person",), tokens=(1,)), "ix_tokens_find"),
        (Where(tenant=ACME, kinds=("person",), ids=(RecordId("r1"),)), "(tenant_no=? AND id=?)"),
        (Where(tenant=ACME, kinds=("person",), roots=(RecordId("r1"),)), "ix_records_tenant_no_root"),
        (Where(tenant=ACME, kinds=("person",), subjects=(SubjectKey("s1"),)), "ix_records_tenant_no_subject_no"),
        (Where(tenant=ACME, kinds=("person",), batch="b", shelf=Shelf.TRASHED), "ix_records_batch"),
        (Where(tenant=ACME, kinds=("person",), due=NOW, shelf=Shelf.TRASHED), "ix_records_due"),
        (Where(tenant=ACME, kinds=("person",), signature=bytes([1]) * 32), "SEARCH f USING INTEGER PRIMARY KEY"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_selection_goes_by_the_index_that_names_the_fewest(database: Database, where: Where, index: str) -> None:
    for query in (touching(where, refused=Mark.NONE), listing(where, admits=Mark.NONE, limit=5, after=None)):
        plan = planned(database, query)
        assert any(index in step for step in plan), plan


@pytest.mark.parametrize(("of", "step"), [(ACME, "(tenant_no=?)"), (Share(0, 2), "SCAN s USING INDEX")])
def test_whoever_was_kept_in_part_is_found_among_nobody_but_the_kept(
    database: Database, of: TenantId | Share, step: str
) -> None:
    """Of one tenant, among those of that tenant."""
    text, values = releasing(of, shared=False)
    plan = planned(database, Query(text, list(values)))
    (first,) = [each for each in plan if " s USING " in each]
    assert "ix_subjects_kept" in first
    assert step in first


def test_a_list_of_a_kind_is_read_in_order_and_never_sorted(database: Database) -> None:
    query = listing(Where(tenant=ACME, kinds=("person",)), admits=Mark.NONE, limit=5, after=None)
    sorts = [step for step in planned(database, query) if "TEMP B-TREE" in step]
    assert len(sorts) == 1, "only the page itself is put in order"
