"""A snapshot is a file as it was at one moment, whoever writes meanwhile; what is derived is not in it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import attrs
import pytest

from capsule_core.errors import NewerSchema, Unavailable
from capsule_sql.bonds import join, join_anew
from capsule_sql.database import Database, open_database
from capsule_sql.failures import Damaged, DataAbsent, ForeignFile, ForeignJournal, JournalBehind
from capsule_sql.journals import SqlJournal
from capsule_sql.migration import Role
from capsule_sql.outbox import Bond, bond
from capsule_sql.records import SqlStore
from capsule_sql.snapshots import journal_at, made_whole, pinned
from tests.conformance.worlds import OnDisk, template
from tests.core.desk import ACME, Desk, note, person

# Counts in one transaction each: the number of leaves is always the number in the checkpoint.
WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("PRAGMA synchronous = OFF")
for number in range(1, 100_000):
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO leaves (no, data) VALUES (?, randomblob(3000))", (number,))
    connection.execute("INSERT OR REPLACE INTO checkpoints (no, note) VALUES (1, ?)", (str(number),))
    connection.execute("COMMIT")
    if number % 50 == 0:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    if number == 100:
        print("going", flush=True)
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.db"
    open_database(path, Role.DATA).close()
    return path


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[tuple[Path, Desk]]:
    """Data with some people in it."""
    disk = OnDisk(template(tmp_path / "files"))
    desk = Desk(disk.records, disk.keystore, disk.journal, disk.ledger)
    people = desk.add(*(person(f"P{number}", email=f"p{number}@example.org") for number in range(300)))
    desk.add(*(note(each.id) for each in people))
    yield disk.folder / "data.db", desk
    disk.close()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "going\n"
        yield
    finally:
        process.kill()
        process.communicate()


def copied(path: Path, to: Path, role: Role = Role.DATA, *, at_once: int = 16) -> Path:
    with pinned(path, role) as snapshot, to.open("wb") as file:
        for pages in snapshot.read(at_once):
            file.write(pages)
    return to


def test_a_snapshot_is_of_one_moment_however_much_is_written_meanwhile(data: Path, tmp_path: Path) -> None:
    seen = []
    with writing(data):
        for number in range(8):
            with closing(sqlite3.connect(copied(data, tmp_path / f"copy{number}", at_once=1))) as copy:
                assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                ((leaves,),) = copy.execute("SELECT count(*) FROM leaves").fetchall()
                ((noted,),) = copy.execute("SELECT note FROM checkpoints").fetchall()
            assert leaves == int(noted)
            seen.append(leaves)
    assert seen == sorted(seen)
    assert len(set(seen)) > 1, "nobody wrote meanwhile"


def test_while_it_is_read_others_write_and_nobody_empties_the_log(data: Path) -> None:
    with closing(open_database(data, Role.DATA)) as database:
        with pinned(data, Role.DATA) as snapshot:
            before = list(snapshot.read(16))
            database.write(lambda each: each.execute("INSERT INTO leaves (no, data) VALUES (1, randomblob(9000))"))
            database._writer.execute("PRAGMA busy_timeout = 0")
            with pytest.raises(Unavailable):
                database.checkpoint()
            assert list(snapshot.read(16)) == before
        database.checkpoint()


def test_what_records_are_found_by_is_not_in_it(kept: tuple[Path, Desk], tmp_path: Path) -> None:
    path, _ = kept
    with closing(sqlite3.connect(path)) as original:
        tokens = [token for (token,) in original.execute("SELECT token FROM tokens")]
        whole = dict(original.execute("SELECT name, 0 FROM sqlite_master WHERE type = 'table'"))
        rows = {name: original.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchall() for name in whole}  # noqa: S608
    copy = copied(path, tmp_path / "copy")
    raw = copy.read_bytes()
    assert len(tokens) > 200
    assert not [token for token in tokens if token.to_bytes(8, "big", signed=True) in raw]
    made_whole(copy, Role.DATA, Role.DATA.newest)
    with closing(sqlite3.connect(copy)) as made:
        assert made.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        found = {name: made.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchall() for name in whole}  # noqa: S608
    assert (found.pop("tokens"), found.pop("signatures")) == ([], [])
    assert found.pop("unindexed") == [(1,)]
    for name in ("tokens", "signatures", "unindexed"):
        del rows[name]
    assert found == rows
    assert copy.stat().st_size < path.stat().st_size


def test_its_index_is_made_again_before_anybody_searches(kept: tuple[Path, Desk], tmp_path: Path) -> None:
    path, desk = kept
    copy = copied(path, tmp_path / "copy")
    made_whole(copy, Role.DATA, Role.DATA.newest)
    with closing(open_database(copy, Role.DATA)) as database:
        assert SqlStore(database, desk.journal).unindexed() == [ACME]


@pytest.mark.parametrize("role", [Role.DATA, Role.LEDGER])
def test_an_empty_file_is_copied_too(tmp_path: Path, role: Role) -> None:
    open_database(tmp_path / "empty", role).close()
    copy = copied(tmp_path / "empty", tmp_path / "copy", role)
    made_whole(copy, role, role.newest)
    open_database(copy, role).close()


def test_another_file_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ForeignFile), pinned(data, Role.LEDGER):
        pass
    (tmp_path / "text").write_text("no database at all, and long enough not to be taken for an empty one" * 20)
    with pytest.raises(ForeignFile), pinned(tmp_path / "text", Role.DATA):
        pass


def test_what_is_not_whole_or_newer_is_not_made_so(data: Path, tmp_path: Path) -> None:
    copy = copied(data, tmp_path / "copy")
    with pytest.raises(NewerSchema):
        made_whole(copy, Role.DATA, "data_9999")
    with pytest.raises(Damaged):
        made_whole(copied(data, tmp_path / "other"), Role.LEDGER, Role.LEDGER.newest)


@attrs.define
class Joined:
    """Data and a journal in files of a folder."""

    folder: Path
    opened: list[Database] = attrs.Factory(list)

    def open(self, name: str, role: Role) -> Database:
        self.opened.append(open_database(self.folder / name, role))
        return self.opened[-1]

    def join(self, data: str, journal: str, *, anew: bool = False) -> Bond:
        database, log = self.open(data, Role.DATA), SqlJournal(self.open(journal, Role.JOURNAL))
        if anew:
            join_anew(database, log, new_id=lambda: f"of {data}")
        else:
            join(database, log, place="here", new_id=lambda: f"of {data}")
        return bond(database)


@pytest.fixture
def joined(tmp_path: Path) -> Iterator[Joined]:
    made = Joined(tmp_path)
    yield made
    for each in made.opened:
        each.close()


def test_data_and_journal_are_joined_once_and_know_each_other(joined: Joined) -> None:
    first = joined.join("data", "journal")
    assert first == Bond("of data", 1) == joined.join("data", "journal")
    assert journal_at(joined.folder / "journal") == first
    assert journal_at(joined.folder / "nothing") is None


def test_neither_goes_with_another(joined: Joined) -> None:
    joined.join("data", "journal")
    joined.join("data2", "journal2")
    with pytest.raises(ForeignJournal):
        joined.join("data", "journal2")
    with pytest.raises(JournalBehind):
        joined.join("data", "new journal")
    assert joined.join("data", "journal2", anew=True).journal == "of data2"


def test_a_journal_that_lacks_what_the_data_has_seen_is_refused(joined: Joined) -> None:
    joined.join("data", "journal")
    database, journal = joined.open("data", Role.DATA), SqlJournal(joined.open("journal", Role.JOURNAL))
    store = SqlStore(database, journal)
    store.arrive(7)
    with pytest.raises(JournalBehind):
        joined.join("data", "journal")


def test_new_data_beside_a_journal_with_acts_is_no_beginning(kept: tuple[Path, Desk], joined: Joined) -> None:
    path, desk = kept
    desk.erase(desk.add(person("Ann"))[0].id)
    data = joined.open("data", Role.DATA)
    with pytest.raises(DataAbsent):
        join(data, desk.journal, place=str(path), new_id=lambda: "x")
