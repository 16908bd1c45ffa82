"""A primary that is lost under load: its standby takes over, and has everything that was acknowledged."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from capsule_core.errors import CapsuleError, SubjectErased, Unavailable
from capsule_core.ledger import audit
from capsule_core.names import SubjectKey, TenantId, made_id
from capsule_core.records import Mark
from capsule_core.reindexing import reindex
from capsule_sql.migration import Role
from capsule_sql.postgres import open_postgres
from tests.core.desk import ACME, NOON, Desk, person
from tests.postgres import APP, Database, Server
from tests.store.crashes import Place, Steps, opened

pytestmark = pytest.mark.timeout(900)  # hundreds of runs, each through real files or a real server


@pytest.fixture
def primary() -> Iterator[Server]:
    server = Server.begin()
    try:
        yield server
    finally:
        server.end()


@pytest.fixture
def database(primary: Server) -> Database:
    return primary.fresh()


@pytest.fixture
def standby(primary: Server, database: Database) -> Iterator[Server]:  # noqa: ARG001  it is copied with it
    server = primary.standby()
    try:
        yield server
    finally:
        server.end()


@pytest.fixture
def desk(primary: Server, standby: Server, database: Database, tmp_path: Path) -> Iterator[Desk]:
    """A desk whose URL names both servers, as that of a deployment with a standby does."""
    desk, databases = opened(Place(tmp_path, f"{primary.folder},{standby.folder}", database.name), Steps())
    yield desk
    for each in databases:
        each.close()


class Load:
    """Writers, and one who erases and holds what they wrote; each notes what was acknowledged."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.over, self.done = threading.Event(), threading.Semaphore(0)
        self.written: list[str] = []
        self.erased: list[str] = []
        self.held: list[str] = []
        self.refused: set[str] = set()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(3)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join(60)

    def wait(self, count: int) -> None:
        for _ in range(count):
            assert self.done.acquire(timeout=60)

    def _write(self, number: int) -> None:
        count = 0
        while not self.over.is_set():
            count += 1
            name = made_id("c", now=NOON, randomness=bytes([number]) + count.to_bytes(9, "big"))
            self._try(lambda name=name: self.desk.add(person("P", id=name)), self.written, name)
            if name not in self.written[-3:]:
                continue
            if count % 3 == 0:
                self._try(lambda name=name: self.desk.erase(name), self.erased, name)
            elif count % 3 == 1:
                self._try(lambda name=name: self.desk.mark(name, Mark.HELD), self.held, name)

    def _try(self, deed: object, noted: list[str], name: str) -> None:
        try:
            deed()  # type: ignore[operator]
        except CapsuleError as error:
            self.refused.add(error.reason)
            if error.reason == "INDEX_MISSING":
                reindex(self.desk.repository, TenantId(ACME))
        else:
            noted.append(name)
            self.done.release()


@pytest.mark.law("L5", "L6", "L8")
def test_nothing_acknowledged_is_lost_when_the_primary_is_killed_under_load_and_the_standby_promoted(
    desk: Desk, primary: Server, standby: Server
) -> None:
    load = Load(desk)
    load.start()
    load.wait(30)
    primary.kill()
    standby.promote()
    load.wait(30)
    load.end()
    desk.eraser.resume(now=NOON)
    assert load.refused <= {"UNAVAILABLE", "INDEX_MISSING", "NOT_FOUND", "SUBJECT_ERASED", "READ_ONLY"}
    subjects = dict(zip(load.written, desk.store.subjects(ACME, load.written), strict=True))
    for name in load.written:
        subject = subjects[name]
        assert subject is not None, "an acknowledged write was lost"
        if not subject.marks & Mark.FENCED:
            assert desk.get(name).version == 1
    for name in load.erased:
        (subject,) = desk.store.subjects(ACME, [SubjectKey(name)])
        assert subject is not None
        assert subject.marks & Mark.ERASED, "an acknowledged erasure was lost"
        with pytest.raises(SubjectErased):
            desk.add(person("P", id=name))
    for name in load.held:
        (subject,) = desk.store.subjects(ACME, [SubjectKey(name)])
        assert subject is not None
        assert subject.marks & Mark.HELD, "an acknowledged hold was lost"
    assert audit(desk.ledger) == desk.ledger.head()


def test_nobody_is_told_of_an_erasure_that_the_standby_does_not_have(
    desk: Desk, primary: Server, standby: Server
) -> None:
    (ann,) = desk.add(person("Ann"))
    standby.stop("immediate")
    answered = threading.Event()

    def erase() -> None:
        desk.erase(ann.id)
        answered.set()

    waiting = threading.Thread(target=erase)
    waiting.start()
    with psycopg.connect(primary.url(), autocommit=True) as admin:
        stuck = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        while admin.execute(stuck).fetchone() == (0,):
            assert waiting.is_alive()
        assert not answered.is_set()
        standby.start()
    waiting.join(60)
    assert answered.is_set()


def test_a_standby_alone_is_never_read(standby: Server, database: Database, desk: Desk) -> None:
    desk.add(person("Ann"))
    with pytest.raises(Unavailable):
        open_postgres(standby.url(database.name, APP), Role.DATA).rows("SELECT 1", ())
