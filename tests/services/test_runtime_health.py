"""Health that is meant: while a log cannot be written nothing has an effect, all are told, and it mends by itself."""

from __future__ import annotations

import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import attrs
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.contacts.v1.contacts_pb2_grpc import ContactsServiceStub
from capsule_core.ledger import audit
from capsule_services.runtime import health as module
from capsule_services.runtime.channels import open_channel
from capsule_services.runtime.health import Ailment, Health, look_after
from capsule_services.runtime.metrics import made_metrics
from capsule_services.runtime.room import find_room
from capsule_sql import database
from capsule_sql.database import Database
from tests.postgres import Server
from tests.services.chassis import refused
from tests.services.office import fresh_id, opened_on
from tests.services.test_many_processes import acts
from tests.services.test_runtime_metrics import asked, served
from tests.services.wired import ACME, Wired, contacts, creating, wired
from tests.services.worker import Ground, free_port, kept_address

Status = health_pb2.HealthCheckResponse
EVERYTHING = health_pb2.HealthCheckRequest()
Trouble = Callable[[Database], AbstractContextManager[object]]


@attrs.frozen
class Ward:
    """A service on SQLite, its health, and where its states are served; *looks* begin when they are asked to."""

    service: Wired
    health: Health
    pages: str
    look: Callable[[], None]

    @property
    def changes(self) -> Database:
        return _database(self.service.office.holding.ledger)

    @property
    def reads(self) -> Database:
        return _database(self.service.office.holding.reads.ledger)

    def until(self, *, well: bool) -> None:
        """Return when it is well, or ill."""
        assert well in self.health.follow()

    def check(self) -> str:
        channel = open_channel(self.service.address, service="contacts", credential=self.service.credential)
        with channel:
            return Status.ServingStatus.Name(health_pb2_grpc.HealthStub(channel).Check(EVERYTHING).status)


def _database(ledger: Any) -> Database:
    assert isinstance(ledger._database, Database)
    return ledger._database


@pytest.fixture
def ward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ward]:
    monkeypatch.setattr(database, "_PATIENCE", 0.02)
    monkeypatch.setattr(module, "_EVERY", 0.01)
    health, opened, stopped = Health(), opened_on("sqlite", tmp_path), threading.Event()

    def look() -> None:
        for ailment, rehearse in opened.watched(health).items():
            look_after(health, ailment, rehearse, stopped)

    with ExitStack() as stack:
        service = stack.enter_context(wired(opened, tmp_path, health=health))
        pages = stack.enter_context(served(made_metrics([]), ready=lambda: health.well))
        yield Ward(service, health, pages, look)
        stopped.set()
        for thread in threading.enumerate():
            if thread.name.startswith("look-"):
                thread.join(30)


@contextmanager
def locked(log: Database) -> Iterator[None]:
    """Somebody else writes, and does not come to an end."""
    with closing(sqlite3.connect(log.path, isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def full(log: Database) -> Iterator[None]:
    """The file may not grow by a page, as on a full disk."""

    def at_most(pages: str) -> None:
        with log._writing:
            log._writer.execute(f"PRAGMA max_page_count = {pages}").fetchall()

    at_most("1")  # SQLite makes that as many as there are
    yield
    at_most("1073741823")


def effects(stub: ContactsServiceStub, name: str) -> list[Callable[[], object]]:
    """Return four calls that change something and three that show something."""
    changed = pb.Contact(name=name, person=pb.Person(given_name="Changed"))
    entry = pb.Entry(kind=pb.Entry.NOTE, body="Rang.")
    everything = pb.ExportContactsRequest(parent=ACME, format=pb.ExportContactsRequest.JSON)
    return [
        lambda: stub.CreateContact(creating()),
        lambda: stub.UpdateContact(pb.UpdateContactRequest(contact=changed, request_id=fresh_id())),
        lambda: stub.CreateEntry(pb.CreateEntryRequest(parent=name, entry=entry, request_id=fresh_id())),
        lambda: stub.DeleteContact(pb.DeleteContactRequest(name=name, request_id=fresh_id())),
        lambda: stub.GetContact(pb.GetContactRequest(name=name)),
        lambda: stub.ListContacts(pb.ListContactsRequest(parent=ACME)),
        lambda: list(stub.ExportContacts(everything)),
    ]


@pytest.mark.law("L8")
@pytest.mark.parametrize("trouble", [locked, full])
@pytest.mark.parametrize("log", ["changes", "reads"])
def test_while_a_log_is_blocked_or_full_nothing_has_an_effect_and_everybody_is_told(
    ward: Ward, log: str, trouble: Trouble
) -> None:
    holding = ward.service.office.holding
    with ward.service.stub() as stub:
        name = stub.CreateContact(creating()).name
        ward.look()
        ward.until(well=True)
        before = holding.ledger.head(), holding.reads.ledger.head()
        with trouble(getattr(ward, log)):
            ward.until(well=False)
            assert ward.check() == "NOT_SERVING"
            assert [asked(f"{ward.pages}/{page}")[0] for page in ("readyz", "livez")] == [503, 200]
            with ThreadPoolExecutor(8) as callers:
                told = list(callers.map(refused, effects(stub, name)))
            assert {error.code() for error in told} == {grpc.StatusCode.UNAVAILABLE}
        ward.until(well=True)
        assert ward.check() == "SERVING"
        assert asked(f"{ward.pages}/readyz")[0] == 200
        assert (holding.ledger.head(), holding.reads.ledger.head()) == before
        for call in effects(stub, name):
            call()
    assert audit(holding.ledger).size == before[0].size + 4
    assert audit(holding.reads.ledger).size == before[1].size + 3


@pytest.mark.law("L8")
@pytest.mark.parametrize("trouble", [locked, full])
def test_the_first_read_that_cannot_be_logged_is_not_answered_and_is_told_at_once(ward: Ward, trouble: Trouble) -> None:
    """Nobody has looked yet: the call itself finds out."""
    ward.service.office.opened.watched(ward.health)
    with ward.service.stub() as stub:
        name = stub.CreateContact(creating()).name
        assert ward.health.well
        with trouble(ward.reads):
            error = refused(lambda: [stub.GetContact(pb.GetContactRequest(name=name)) for _ in range(300)])
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert not ward.health.well
            assert refused(lambda: stub.CreateContact(creating())).code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.law("L8")
@pytest.mark.parametrize("trouble", [locked, full])
def test_a_change_that_cannot_be_logged_is_not_made(ward: Ward, trouble: Trouble) -> None:
    with ward.service.stub() as stub:
        kept = {stub.CreateContact(creating()).name for _ in range(3)}
        with trouble(ward.changes):
            error = refused(lambda: [kept.add(stub.CreateContact(creating()).name) for _ in range(300)])
            assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert set(contacts(stub)) == kept
    assert ward.service.changes("CreateContact") == len(kept)
    assert audit(ward.service.office.holding.ledger).size == len(kept)


def test_looking_leaves_no_leaf_and_no_byte(ward: Ward, tmp_path: Path) -> None:
    holding = ward.service.office.holding
    before = contents(tmp_path)
    rehearsals = ward.service.office.opened.watched(ward.health)
    assert set(rehearsals) == {Ailment.STORE, Ailment.READS}
    for rehearse in list(rehearsals.values()) * 3:
        rehearse()
    assert (holding.ledger.head().size, holding.reads.ledger.head().size) == (0, 0)
    assert holding.ledger.read(0, 10) == []
    assert contents(tmp_path) == before


def contents(folder: Path) -> dict[Path, bytes]:
    """Read every file that holds anything, but those that only say who reads and writes just now."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".db-shm"]
    return {path: data for path in files if (data := path.read_bytes())}


def test_a_disk_without_room_is_found_out_and_so_is_that_there_is_room_again(tmp_path: Path) -> None:
    find_room(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))  # the system says so of a file, as of a disk
    try:
        with pytest.raises(OSError, match="too large"):
            find_room(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    find_room(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.law("L8")
def test_a_server_that_is_stopped_and_started_again_is_told_of_and_found_again(tmp_path: Path) -> None:
    server = Server.begin()
    try:
        ground = Ground(tmp_path, server.fresh())
        with (
            kept_address() as address,
            ground.worker(address, metrics=(port := free_port())) as worker,
            worker.health() as health,
            worker.stub() as stub,
        ):
            pages = f"http://127.0.0.1:{port}"
            worker.ready()
            watched = health.Watch(EVERYTHING)
            assert next(watched).status == Status.SERVING
            name = stub.CreateContact(creating()).name
            server.stop()
            assert next(watched).status == Status.NOT_SERVING
            assert [asked(f"{pages}/{page}")[0] for page in ("readyz", "livez")] == [503, 200]
            assert refused(lambda: stub.CreateContact(creating())).code() is grpc.StatusCode.UNAVAILABLE
            server.start()
            assert next(watched).status == Status.SERVING
            assert asked(f"{pages}/readyz")[0] == 200
            assert stub.GetContact(pb.GetContactRequest(name=name)).name == name
            stub.CreateContact(creating())
        assert acts(ground) == ["contacts.CreateContact"] * 2
    finally:
        server.end()


def test_whoever_watches_is_told_each_change(ward: Ward) -> None:
    channel = open_channel(ward.service.address, service="contacts", credential=ward.service.credential)
    with channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watched = stub.Watch(EVERYTHING)
        assert next(watched).status == Status.SERVING
        ward.health.ails(Ailment.READS)
        assert next(watched).status == Status.NOT_SERVING
        ward.health.ails(Ailment.STORE)
        ward.health.mended(Ailment.READS)
        ward.health.mended(Ailment.STORE)
        assert next(watched).status == Status.SERVING
        unknown = stub.Watch(health_pb2.HealthCheckRequest(service="no.such"))
        assert [each.status for each in unknown] == [Status.SERVICE_UNKNOWN]


def test_watchers_keep_a_thread_each_so_there_are_few_and_one_that_leaves_makes_room(ward: Ward) -> None:
    channel = open_channel(ward.service.address, service="contacts", credential=ward.service.credential)
    with channel:
        stub = health_pb2_grpc.HealthStub(channel)
        first, second = (stub.Watch(EVERYTHING) for _ in range(2))
        assert [next(first).status, next(second).status] == [Status.SERVING] * 2
        assert refused(lambda: stub.Watch(EVERYTHING)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert ward.service.ended("Watch").code == "RESOURCE_EXHAUSTED"
        first.cancel()
        ward.service.ended("Watch")
        assert next(stub.Watch(EVERYTHING)).status == Status.SERVING


def test_it_is_well_only_when_nothing_ails_it_any_more() -> None:
    health = Health()
    assert not health.well, "it is starting"
    assert health.fit
    health.mended(Ailment.STARTING)
    told = health.follow()
    assert next(told) is True
    for ailment in (Ailment.STORE, Ailment.READS):
        health.ails(ailment)
    assert next(told) is False
    health.mended(Ailment.STORE)
    assert not health.well
    assert not health.fit
    health.mended(Ailment.READS)
    assert next(told) is True
    health.ails(Ailment.STOPPING)
    assert next(told) is False
    assert health.fit, "calls under way go on"
    health.end()
    assert list(told) == []


def test_a_look_that_does_not_come_back_tells_as_much_as_one_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EVERY", 0.001)
    monkeypatch.setattr(module, "_OVERDUE", 0.001)
    health, gate, stopped = Health(), threading.Event(), threading.Event()
    health.mended(Ailment.STARTING)
    look_after(health, Ailment.STORE, lambda: gate.wait(30), stopped)
    assert False in health.follow()
    gate.set()
    assert True in health.follow()
    stopped.set()
