"""Pages are re-sealed by the hundred, and the root key is replaced, while writers go on: no key is lost."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import attrs
import pytest

from capsule_core.errors import CapsuleError
from capsule_core.ledger import audit
from capsule_core.pages import PLACES, PageKey
from capsule_core.records import Mark, Where
from capsule_core.wrapping import RootKey, Roots, root_id
from capsule_sql.database import open_database
from capsule_sql.journals import SqlJournal
from capsule_sql.keystores import SqlKeystore
from capsule_sql.ledgers import SqlLedger
from capsule_sql.migration import Role
from capsule_sql.postgres import open_postgres
from capsule_sql.records import SqlStore
from tests.core.desk import ACME, Desk, new_id, note, person
from tests.postgres import Database

PEOPLE, WRITERS, PATIENCE = 12 * PLACES, 4, 120.0


@attrs.define
class Works:
    """The files and databases of one service; *roots* is what its folder has as root keys."""

    folder: Path
    database: Database | None
    stack: ExitStack
    roots: list[bytes] = attrs.field(factory=lambda: [bytes(range(32))])

    def keystore(self) -> SqlKeystore:
        files = [self._file(name, Role.KEYSTORE) for name in ("keys", "keys2")]
        return SqlKeystore(files[0], Roots(lambda: list(self.roots)), secrets.token_bytes, files[1])

    def desk(self) -> Desk:
        data: Any = self._file("data", Role.DATA)
        if self.database is not None:
            data = self.stack.enter_context(closing(open_postgres(self.database.url, Role.DATA)))
        journal = SqlJournal(self._file("log", Role.JOURNAL))
        return Desk(SqlStore(data, journal), self.keystore(), journal, SqlLedger(data))

    def _file(self, name: str, role: Role) -> Any:
        return self.stack.enter_context(closing(open_database(self.folder / name, role)))


@pytest.fixture(params=["files", "server"])
def works(request: pytest.FixtureRequest, folder: Path) -> Iterator[Works]:
    database = request.getfixturevalue("database") if request.param == "server" else None
    with ExitStack() as stack:
        yield Works(folder, database, stack)


def test_a_root_key_is_replaced_while_people_are_written_and_erased_by_the_hundred(works: Works) -> None:
    desk = works.desk()
    people = [each for start in range(0, PEOPLE, PLACES) for each in _kept(desk, start)]
    keeping, leaving = people[::2], people[1::2]
    over, failures, written = threading.Event(), list[BaseException](), list[str]()

    def write(mine: list[str]) -> None:
        turn = 0
        while not over.is_set() or turn < 3:
            name = mine[turn % len(mine)]
            desk.rename(name, f"changed {turn}")
            desk.add(note(name))
            written.append(desk.add(person("New", id=new_id("c")))[0].id)
            turn += 1

    def erase() -> None:
        for start in range(6):  # of every page some, each time
            assert desk.erase(*leaving[start::8], id=f"e{start}") is not None
        over.set()

    def rotate() -> None:
        while not over.is_set():
            _replace(works, works.keystore())

    shares = [keeping[number::WRITERS] for number in range(WRITERS)]
    deeds: list[Callable[[], None]] = [erase, rotate, *(lambda mine=mine: write(mine) for mine in shares)]  # type: ignore[misc]
    _together(deeds, failures, over)
    assert failures == []
    _assert_nobody_is_lost(works, desk, {*keeping, *written}, leaving)


def test_a_key_read_before_and_opened_after_its_root_key_was_replaced_is_read_again(folder: Path) -> None:
    with ExitStack() as stack:
        works = Works(folder, None, stack)
        other = works.keystore()
        stale = list(works.roots)

        def load() -> list[bytes]:
            if other.get(ACME, [1]) and stale != works.roots:  # whoever asks has read a row, and not yet opened it
                _replace(works, other)
            return list(works.roots)

        file = stack.enter_context(closing(open_database(folder / "keys", Role.KEYSTORE)))
        mine = SqlKeystore(file, Roots(load), secrets.token_bytes)
        key = PageKey(tenant=ACME, page=1, id=b"1" * 16, key=b"k" * 32)
        mine.put([key])
        _replace(works, other)
        assert mine.get(ACME, [1]) == [key]


def _replace(works: Works, keystore: SqlKeystore) -> None:
    works.roots.append(secrets.token_bytes(32))
    keystore.adopt(RootKey(works.roots[-1]))
    assert sum(keystore.rewrap()) >= 0
    keystore.let_go()
    del works.roots[:-1]


def _kept(desk: Desk, start: int) -> list[str]:
    fresh = [person(f"P{number}", id=f"c{number:026d}") for number in range(start, start + PLACES)]
    return [each.id for each in desk.add(*fresh)]


def _together(deeds: list[Callable[[], None]], failures: list[BaseException], over: threading.Event) -> None:
    def work(deed: Callable[[], None]) -> None:
        try:
            deed()
        except BaseException as failure:  # noqa: BLE001  it is for the test, not for the thread
            failures.append(failure)
            over.set()

    threads = [threading.Thread(target=work, args=[deed]) for deed in deeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)


def _assert_nobody_is_lost(works: Works, used: Desk, kept: set[str], left: list[str]) -> None:
    assert len(works.roots) == 1
    assert works.roots != [bytes(range(32))], "the root key was replaced"
    for desk in (used, works.desk()):
        found = desk.store.select(Where(tenant=ACME, kinds=("person",)), admits=Mark.NONE, limit=20_000).records
        gone = {each.key for each in desk.store.subjects(ACME, left) if each and each.marks & Mark.ERASED}
        assert {each.id for each in found} == kept | ({*left} - gone)
        assert len(gone) >= len(left) // 2
        assert len(desk.repository.open(found)) == len(found)
        assert audit(desk.ledger) == desk.ledger.head()
    slots = [each.slot for each in used.store.subjects(ACME, sorted(gone)) if each]
    assert used.vault.remaining(ACME, slots) == []
    with pytest.raises(CapsuleError):
        used.get(min(gone))
    for name in ("keys", "keys2"):
        with closing(sqlite3.connect(works.folder / name)) as file:
            wrapped = [row for (row,) in file.execute("SELECT wrapped FROM keys")]
            assert {root_id(row) for row in wrapped} == {RootKey(works.roots[0]).id}
            assert len(wrapped) == 1 + used.store.newest(ACME)
