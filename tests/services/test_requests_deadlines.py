"""A caller who gives up: an effect is whole, with its leaf, or there is none; what nobody awaits is not begun."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import grpc
import pytest

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_services.runtime.callers import UserCaller
from capsule_services.runtime.calls import CURRENT, current_call, patience
from tests.services.chassis import deployed, refused
from tests.services.office import numbered_id, opened_on
from tests.services.test_runtime_paging import CALL
from tests.services.wired import ACME, Gate, Wired, contacts, creating, wired

SHORT = 0.3
READ = pb.GetContactRequest(name=f"{ACME}/contacts/c1")


@pytest.fixture(params=["memory", "sqlite"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Wired]:
    with wired(opened_on(request.param, tmp_path), tmp_path) as running:
        yield running


def before_the_change(service: Wired, gate: Gate) -> None:
    holding = service.servicer.holding

    def random(count: int) -> bytes:
        gate.stand()
        return holding.random(count)

    service.servicer.holding = attrs.evolve(holding, random=random)


def after_the_change(service: Wired, gate: Gate) -> None:
    service.servicer.after = gate.stand


@pytest.mark.law("L8")
@pytest.mark.parametrize("place", [before_the_change, after_the_change])
@pytest.mark.parametrize("gives_up", ["by hand", "by deadline"])
def test_a_caller_who_gives_up_in_the_middle_finds_the_whole_effect(
    service: Wired, place: Callable[[Wired, Gate], None], gives_up: str
) -> None:
    gate, asked = Gate(), creating()
    place(service, gate)
    with service.stub() as stub:
        call = stub.CreateContact.future(asked, timeout=SHORT if gives_up == "by deadline" else 30)
        assert gate.arrived.wait(30)
        if gives_up == "by hand":
            call.cancel()
        wait_for(call)
        gate.opened.set()
        service.ended("CreateContact")
        again = stub.CreateContact(asked)
        assert contacts(stub) == [again.name]
    assert [leaf.records for leaf in service.leaves("CreateContact")] == [1]


def wait_for(call: grpc.Future) -> None:
    with pytest.raises((grpc.RpcError, grpc.FutureCancelledError)):
        call.result(30)


@pytest.mark.parametrize("gives_up", ["by hand", "by deadline"])
def test_what_nobody_awaits_any_more_is_not_begun(tmp_path: Path, gives_up: str) -> None:
    gate = Gate()

    def is_open(_: UserCaller) -> bool:
        gate.stand()  # the call has come, and its sender is being looked at
        return True

    with wired(opened_on("memory", tmp_path), tmp_path, is_open=is_open) as service, service.stub() as stub:
        call = stub.CreateContact.future(creating(), timeout=SHORT if gives_up == "by deadline" else 30)
        assert gate.arrived.wait(30)
        if gives_up == "by hand":
            call.cancel()
        wait_for(call)
        assert contacts(stub) == []  # the server has heard of it now
        gate.opened.set()
        assert service.ended("CreateContact").code in {"CANCELLED", "DEADLINE_EXCEEDED"}
        assert contacts(stub) == []
        assert service.changes("CreateContact") == 0


def test_a_deadline_that_passes_while_a_call_waits_for_a_thread_leaves_it_undone(tmp_path: Path) -> None:
    standing, free = threading.Semaphore(0), threading.Event()

    def stand() -> None:
        if current_call().method.endswith("GetContact"):
            standing.release()
            assert free.wait(30)

    with deployed(tmp_path) as deployment, deployment.stub() as stub:
        stub.ListContacts(pb.ListContactsRequest(parent=ACME))  # from now on the tenant is known
        deployment.contacts.deed = stand
        slow = [stub.GetContact.future(READ) for _ in range(4)]
        assert all(standing.acquire(timeout=10) for _ in slow)
        late = refused(lambda: stub.CreateContact(creating(), timeout=SHORT))
        assert late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        free.set()
        assert all(call.result(10).name == READ.name for call in slow)
        stub.ListContacts(pb.ListContactsRequest(parent=ACME))
        assert not [call for call in deployment.contacts.seen if call.method.endswith("CreateContact")]


def rows(first: int, last: int) -> bytes:
    cards = (f"BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Ada {n}\r\nN:;Ada {n};;;\r\nEND:VCARD\r\n" for n in range(first, last))
    return "".join(cards).encode()


def import_of(*data: bytes, going_on: threading.Event | None = None) -> Iterator[pb.ImportContactsRequest]:
    header = pb.ImportContactsRequest.Header(parent=ACME, layout="VCARD", request_id=numbered_id(7))
    yield pb.ImportContactsRequest(header=header)
    for each in data:
        yield pb.ImportContactsRequest(data=each)
    if going_on is not None:
        assert going_on.wait(30)


@pytest.mark.law("L8")
def test_an_import_that_is_cancelled_half_way_has_kept_whole_batches_and_goes_on_when_sent_again(
    service: Wired,
) -> None:
    never = threading.Event()
    with service.stub() as stub:
        call = stub.ImportContacts.future(import_of(rows(0, 300), going_on=never))
        for _ in range(1000):
            if contacts(stub):
                break
        call.cancel()
        never.set()
        assert service.ended("ImportContacts").code == "CANCELLED"
        assert len(contacts(stub)) == sum(leaf.records for leaf in service.leaves("ImportContacts")) == 200
        report = stub.ImportContacts(import_of(rows(0, 300)))
        assert (report.created, report.already_applied) == (100, 200)
        assert len(contacts(stub)) == 300


def test_an_export_that_is_cancelled_half_way_gives_its_thread_back(service: Wired) -> None:
    asked = pb.ExportContactsRequest(parent=ACME, format="JSON")
    with service.stub() as stub:
        stub.ImportContacts(import_of(rows(0, 1000)))
        for _ in range(12):  # three times as many as a tenant may have at a time
            call = stub.ExportContacts(asked)
            next(call)
            call.cancel()
            service.ended("ExportContacts")
        assert sum(len(piece.data) for piece in stub.ExportContacts(asked)) > 1000
    assert len(service.leaves("ExportContacts")) == 0  # it reads: its leaves are in the other log


def test_a_wait_ends_when_the_caller_stops_waiting() -> None:
    assert patience(30) == 30
    before = CURRENT.set(attrs.evolve(CALL, remaining=lambda: 0.25))
    try:
        assert (patience(30), patience(0.1)) == (0.25, 0.1)
        CURRENT.set(CALL)
        assert patience(30) == 30
        assert CALL.remaining() == math.inf
    finally:
        CURRENT.reset(before)


def test_a_call_knows_how_long_its_caller_waits(tmp_path: Path) -> None:
    seen: list[float] = []
    with deployed(tmp_path) as deployment, deployment.stub() as stub:
        deployment.contacts.deed = lambda: seen.append(current_call().remaining())
        stub.GetContact(READ, timeout=1000)
        stub.GetContact(READ)  # what a channel gives to calls without a deadline
    assert 900 < seen[0] <= 1000
    assert seen[1] < 31
