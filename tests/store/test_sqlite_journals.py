"""What is particular to a journal in files: the mirror, what a crash leaves, and what is not a journal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import attrs
import pytest

from capsule_core.journal import Entry, Marked, PageResealed, SealedPage
from capsule_core.names import SubjectKey, TenantId, from_micros
from capsule_core.records import Mark, Reason
from capsule_sql.database import open_database
from capsule_sql.failures import DiskFull, MirrorsDiffer
from capsule_sql.journals import SqlJournal
from capsule_sql.migration import Role

ACME = TenantId("acme")


def marked(no: int) -> Marked:
    reason = Reason(id=f"hold-{no}", mark=Mark.HELD, subject=SubjectKey("s1"), since=from_micros(no))
    return Marked(tenant=ACME, reasons=(reason,))


def resealed(number: int, *, key_id: bytes, blob: bytes) -> PageResealed:
    return PageResealed(SealedPage(tenant=ACME, number=number, generation=2, key_id=key_id, blob=blob))


@attrs.define
class Folder:
    path: Path
    stack: ExitStack = attrs.field(factory=ExitStack)

    def open(self, *names: str) -> SqlJournal:
        return SqlJournal(
            *(self.stack.enter_context(closing(open_database(self.path / name, Role.JOURNAL))) for name in names)
        )

    def entries(self, name: str) -> list[tuple[int, Entry]]:
        return list(self.open(name).since(0))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path)
    yield made
    made.stack.close()


def test_an_entry_is_in_the_file_and_on_the_mirror_when_append_returns(folder: Folder) -> None:
    journal = folder.open("a.db", "b.db")
    journal.append([marked(1), marked(2)])
    journal.append([marked(3)])
    assert [entry for _, entry in journal.since(0)] == [marked(1), marked(2), marked(3)]
    assert folder.entries("a.db") == folder.entries("b.db") == list(journal.since(0))


def test_entries_are_read_on_from_a_position_however_many_there_are(folder: Folder) -> None:
    journal = folder.open("a.db")
    journal.append([marked(no) for no in range(2500)])
    positions = [position for position, _ in journal.since(0)]
    assert positions == sorted(set(positions))
    assert [entry for _, entry in journal.since(positions[1200])] == [marked(no) for no in range(1201, 2500)]


@pytest.mark.parametrize("behind", ["a.db", "b.db"])
def test_a_copy_that_fell_behind_is_given_what_it_lacks_when_opened(folder: Folder, behind: str) -> None:
    folder.open("a.db", "b.db").append([marked(1)])
    (ahead,) = {"a.db", "b.db"} - {behind}
    folder.open(ahead).append([marked(no) for no in range(2, 2500)])
    assert len(folder.entries(behind)) == 1
    folder.open("a.db", "b.db")
    assert [entry for _, entry in folder.entries(behind)] == [marked(no) for no in range(1, 2500)]


def test_a_mirror_of_another_journal_is_refused_and_left_alone(folder: Folder) -> None:
    folder.open("a.db").append([marked(1)])
    folder.open("b.db").append([marked(2), marked(3)])
    with pytest.raises(MirrorsDiffer):
        folder.open("a.db", "b.db")
    assert [len(folder.entries(name)) for name in ("a.db", "b.db")] == [1, 2]


def test_an_entry_that_finds_no_room_on_the_mirror_is_in_neither(folder: Folder) -> None:
    journal = folder.open("a.db", "b.db")
    journal.append([marked(1)])
    assert journal._mirror is not None
    journal._mirror._writer.execute("PRAGMA max_page_count = 8")
    with pytest.raises(DiskFull):
        journal.append([resealed(1, key_id=b"12345678", blob=bytes(200_000))])
    assert [entry for _, entry in journal.since(0)] == [marked(1)]
    journal.append([marked(2)])
    assert folder.entries("a.db") == folder.entries("b.db")
    assert [entry for _, entry in journal.since(0)] == [marked(1), marked(2)]


def test_the_newest_sealing_of_a_page_is_found_by_its_key(folder: Folder) -> None:
    journal = folder.open("a.db")
    journal.append([resealed(1, key_id=b"k", blob=b"old"), resealed(1, key_id=b"k", blob=b"new"), marked(1)])
    journal.append([resealed(1, key_id=b"other", blob=b"x"), resealed(2, key_id=b"k", blob=b"y")])
    found = journal.newest_page(ACME, 1, b"k")
    assert found is not None
    assert found.blob == b"new"
    assert journal.newest_page(ACME, 3, b"k") is None
    assert journal.newest_page(TenantId("other"), 1, b"k") is None
