"""Several contacts processes on one PostgreSQL: alike to whoever calls, whichever of them is called, stands or dies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import grpc
import pytest
from grpc_health.v1 import health_pb2

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.contacts.v1.contacts_pb2_grpc import ContactsServiceStub
from capsule_core.ledger import Leaf, audit
from capsule_core.receipts import Receipt
from capsule_services.runtime.faults import understood
from capsule_services.runtime.process import REFUSED
from capsule_sql.ledgers import SqlLedger
from capsule_sql.migration import Role
from capsule_sql.postgres import open_postgres
from tests.postgres import Database, Server
from tests.services.chassis import refused
from tests.services.office import fresh_id
from tests.services.wired import ACME, contacts, creating
from tests.services.worker import Ground, Worker, free_port, kept_address

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
EVERYTHING = health_pb2.HealthCheckRequest()
GONE = {"SUBJECT_ERASED", "NOT_FOUND"}


@attrs.frozen
class Pair:
    """Two processes of one service, each at an address of its own, and somebody connected to each; *first* leads."""

    first: Worker
    second: Worker
    here: ContactsServiceStub
    there: ContactsServiceStub


@pytest.fixture(scope="module")
def pair(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    ground = Ground(tmp_path_factory.mktemp("pair"), postgres.fresh())
    with ExitStack() as stack:
        workers = [begun(ground, stack) for _ in range(2)]
        yield Pair(*workers, *(stack.enter_context(worker.stub()) for worker in workers))


def begun(ground: Ground, stack: ExitStack) -> Worker:
    """Begin a process at an address of its own; the first to be ready leads."""
    worker = stack.enter_context(ground.worker(stack.enter_context(kept_address())))
    worker.ready()
    return worker


@pytest.fixture
def ground(database: Database, tmp_path: Path) -> Ground:
    return Ground(tmp_path, database)


def reason(error: grpc.Call) -> str:
    return understood(error).reason  # type: ignore[arg-type]


def made(stub: ContactsServiceStub, given: str = "Ada") -> str:
    return str(stub.CreateContact(creating(given)).name)


def got(stub: ContactsServiceStub, name: str) -> pb.Contact:
    return stub.GetContact(pb.GetContactRequest(name=name))


def purged(stub: ContactsServiceStub, name: str, request_id: str = "") -> Receipt:
    stub.DeleteContact(pb.DeleteContactRequest(name=name, request_id=fresh_id()))
    request = pb.PurgeContactRequest(name=name, confirm=True, request_id=request_id or fresh_id())
    return Receipt.decode(stub.PurgeContact(request).receipt)


def test_what_one_creates_changes_throws_away_and_finds_the_other_does_too(pair: Pair) -> None:
    name = made(pair.here, "Thorgunna")
    assert got(pair.there, name).person.given_name == "Thorgunna"
    assert name in contacts(pair.there)
    changed = pb.Contact(name=name, person=pb.Person(given_name="Yrsa"))
    pair.there.UpdateContact(pb.UpdateContactRequest(contact=changed, request_id=fresh_id()))
    assert got(pair.here, name).person.given_name == "Yrsa"
    assert [each.name for each in pair.here.SearchContacts(by_prefix("yrs")).contacts] == [name]
    pair.here.DeleteContact(pb.DeleteContactRequest(name=name, request_id=fresh_id()))
    assert name not in contacts(pair.there)
    assert pair.there.UndeleteContact(pb.UndeleteContactRequest(name=name, request_id=fresh_id())).name == name


def by_prefix(text: str) -> pb.SearchContactsRequest:
    return pb.SearchContactsRequest(parent=ACME, name_prefix=text)


@pytest.mark.law("L9")
def test_one_request_sent_to_both_at_once_has_one_effect_and_one_answer(pair: Pair) -> None:
    for _ in range(5):
        asked, before = creating(), len(contacts(pair.here))
        with ThreadPoolExecutor(2) as callers:
            answers = list(callers.map(until_told, (pair.here, pair.there), (asked, asked)))
        assert answers[0] == answers[1]
        assert len(contacts(pair.there)) == before + 1


def until_told(stub: ContactsServiceStub, asked: pb.CreateContactRequest) -> pb.Contact:
    while True:
        try:
            return stub.CreateContact(asked)
        except grpc.RpcError as error:
            assert understood(error).reason == "REQUEST_IN_FLIGHT"


@pytest.mark.law("L6")
def test_pages_that_one_seals_anew_for_an_erasure_open_in_the_other(pair: Pair) -> None:
    """All of these lie on pages that each process made; every erasure gives its page another key."""
    names = [made(stub) for _ in range(3) for stub in (pair.here, pair.there)]
    for number, name in enumerate(names[:4]):
        for stub in (pair.here, pair.there):
            assert got(stub, name).name == name
        assert purged((pair.there, pair.here)[number % 2], name).statement.subjects == (name.rpartition("/")[2],)
        for stub in (pair.here, pair.there):
            assert reason(refused(lambda stub=stub, name=name: got(stub, name))) in GONE
            assert [got(stub, left).name for left in names[4:]] == names[4:]


def listed(stub: ContactsServiceStub, _: str) -> Any:
    return stub.ListContacts(pb.ListContactsRequest(parent=ACME, page_size=1000))


def found(stub: ContactsServiceStub, _: str) -> Any:
    return stub.SearchContacts(by_prefix("Svanhild"))


def exported(stub: ContactsServiceStub, _: str) -> Any:
    return list(stub.ExportContacts(pb.ExportContactsRequest(parent=ACME, format=pb.ExportContactsRequest.JSON)))


def printed(stub: ContactsServiceStub, name: str) -> Any:
    return list(stub.PrintContact(pb.PrintContactRequest(name=name)))


def renamed(stub: ContactsServiceStub, name: str) -> Any:
    contact = pb.Contact(name=name, person=pb.Person(given_name="Svanhild", family_name=fresh_id()))
    return stub.UpdateContact(pb.UpdateContactRequest(contact=contact, request_id=fresh_id()))


MIDDLES = [
    *((got, step) for step in ("read", "unlocked", "opened", "logged")),
    *((listed, step) for step in ("selected", "opened", "logged")),
    *((found, step) for step in ("selected", "logged")),
    *((exported, step) for step in ("opened", "logged")),
    *((printed, step) for step in ("opened", "logged")),
    *((renamed, step) for step in ("opened", "written")),
]


@pytest.mark.law("L5", "L6")
@pytest.mark.parametrize(("call", "step"), MIDDLES)
def test_a_process_that_stood_still_during_an_erasure_does_not_answer_with_the_erased(
    pair: Pair, call: Callable[[ContactsServiceStub, str], Any], step: str
) -> None:
    name = made(pair.here, "Svanhild")
    call(pair.there, name)  # its keys are in memory there
    pair.second.will(step)
    with ThreadPoolExecutor(1) as callers:
        answer: Future[Any] = callers.submit(call, pair.there, name)
        pair.second.stands()
        purged(pair.here, name)
        pair.second.go_on()
        refusal = answer.exception(60)
    if refusal is None:
        assert "Svanhild" not in repr(answer.result()), "it told of somebody whose erasure was acknowledged"
    else:
        assert isinstance(refusal, grpc.RpcError)
        assert understood(refusal).reason in GONE
    assert reason(refused(lambda: got(pair.there, name))) in GONE


@pytest.mark.law("L5")
def test_an_erasure_that_stood_still_and_was_finished_by_another_has_one_receipt(pair: Pair) -> None:
    name, request_id = made(pair.there), fresh_id()
    pair.second.will("fenced")
    with ThreadPoolExecutor(1) as callers:
        answer = callers.submit(purged, pair.there, name, request_id)
        pair.second.stands()
        again = pb.PurgeContactRequest(name=name, confirm=True, request_id=request_id)
        receipt = Receipt.decode(pair.here.PurgeContact(again).receipt)
        pair.second.go_on()
        assert answer.result(60) == receipt


def acts(ground: Ground) -> list[str]:
    """Name every act in the log of changes, which is whole."""
    assert ground.database is not None
    database = open_postgres(ground.database.url, Role.DATA)
    ledger = SqlLedger(database)
    head = ledger.head()
    assert audit(ledger) == head
    leaves = [Leaf.decode(data).act for data in ledger.read(0, head.size)]
    database.close()
    return leaves


@pytest.mark.law("L6")
def test_when_the_leader_is_killed_its_heir_finishes_what_it_began(ground: Ground) -> None:
    with ExitStack() as stack:
        leader, heir = begun(ground, stack), begun(ground, stack)
        with leader.stub() as stub, heir.stub() as there, ThreadPoolExecutor(1) as callers:
            name = made(stub)
            leader.will("shredded", "kill")
            callers.submit(purged, stub, name)
            leader.died()
            heir.says("leading")
            assert reason(refused(lambda: got(there, name))) in GONE
    assert acts(ground).count("erasure.commit") == 1, "without anybody asking again"


def test_nobody_is_served_before_what_a_crash_left_is_done(ground: Ground) -> None:
    """The third begins while nobody has done it yet: the leader is dead, and its heir is just about to."""
    with kept_address() as third_address, ExitStack() as stack:
        leader, heir = begun(ground, stack), begun(ground, stack)
        with leader.stub() as stub, ThreadPoolExecutor(1) as callers:
            name = made(stub)
            leader.will("fenced", "kill")
            heir.will("resumed")
            callers.submit(purged, stub, name)
            leader.died()
            heir.stands()  # done, and not let go of
            third = stack.enter_context(ground.worker(third_address))
            with third.health() as health, third.stub() as there:
                watched = health.Watch(EVERYTHING, wait_for_ready=True)
                assert next(watched).status == NOT_SERVING
                assert refused(lambda: got(there, name)).code() is grpc.StatusCode.UNAVAILABLE
                heir.go_on()
                assert next(watched).status == SERVING
                assert acts(ground).count("erasure.commit") == 1
                assert reason(refused(lambda: got(there, name))) in GONE


@pytest.mark.law("L6")
def test_files_are_served_by_one_process_and_a_second_is_refused(tmp_path: Path) -> None:
    """It would go on believing the keys it has in memory."""
    ground = Ground(tmp_path)
    with ground.worker(f"127.0.0.1:{free_port()}") as first, first.stub() as stub:
        first.ready()
        name = made(stub)
        with ground.worker(f"127.0.0.1:{free_port()}") as second:
            assert "several need PostgreSQL" in second.says("said")["sentence"]
            assert second.child.wait(30) == REFUSED
        assert got(stub, name).name == name


@pytest.mark.law("L8", "L9")
def test_two_processes_share_a_port_and_killing_one_fails_no_call_and_loses_nothing(ground: Ground) -> None:
    """Whoever calls tries again what is UNAVAILABLE, as every connection here does by itself."""
    over, done, kept, failed = threading.Event(), threading.Semaphore(0), list[str](), list[object]()

    def work(worker: Worker) -> None:
        with worker.stub() as stub:
            while not over.is_set():
                try:
                    name = made(stub)
                    kept.append(got(stub, name).name)
                except grpc.RpcError as error:
                    failed.append((error.code(), error.details()))
                done.release()

    with kept_address() as shared, ground.worker(shared) as first, ground.worker(shared) as second:
        first.ready()
        second.ready()
        threads = [threading.Thread(target=work, args=[first]) for _ in range(16)]
        for thread in threads:
            thread.start()
        for _ in range(100):
            assert done.acquire(timeout=60)
        assert first.calls
        assert second.calls
        first.child.kill()
        for _ in range(100):
            assert done.acquire(timeout=60)
        over.set()
        for thread in threads:
            thread.join(60)
        with second.stub() as stub:
            assert failed == []
            assert set(contacts(stub)) == set(kept)
    assert acts(ground).count("contacts.CreateContact") == len(kept)
