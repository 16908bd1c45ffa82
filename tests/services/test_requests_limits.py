"""Limits of the wire: what is beyond one is refused with RESOURCE_EXHAUSTED, and the server goes on serving."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.errors import RateExceeded
from capsule_services.runtime.fairness import Rate
from capsule_services.runtime.faults import understood
from tests.services.chassis import Deployment, anna, deployed, refused, token
from tests.services.office import opened_on
from tests.services.wired import ACME, contacts, creating, wired

READ = pb.GetContactRequest(name=f"{ACME}/contacts/c1")
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("limits")) as deployment:
        yield deployment


@pytest.fixture(autouse=True)
def _goes_on_serving(running: Deployment) -> Iterator[None]:
    yield
    running.contacts.deed = lambda: None
    with running.stub() as stub:
        assert stub.GetContact(READ).name == READ.name


def importing(*sizes: int) -> Iterator[pb.ImportContactsRequest]:
    yield pb.ImportContactsRequest(header=pb.ImportContactsRequest.Header(parent=ACME, layout="VCARD"))
    for size in sizes:
        yield pb.ImportContactsRequest(data=b"x" * size)


def test_a_message_of_four_megabytes_passes(running: Deployment) -> None:
    with running.stub() as stub:
        assert stub.ImportContacts(importing(4 * MEGABYTE - 16, 4 * MEGABYTE - 16)).created == 2


@pytest.mark.parametrize("sizes", [(4 * MEGABYTE,), (1, 4 * MEGABYTE), (40 * MEGABYTE,)], ids=repr)
def test_a_larger_one_does_not_wherever_it_comes_in_a_stream(running: Deployment, sizes: tuple[int, ...]) -> None:
    before = len(running.contacts.seen)
    with running.stub() as stub:
        assert refused(lambda: stub.ImportContacts(importing(*sizes))).code() is EXHAUSTED
    assert len(running.contacts.seen) == before


@pytest.mark.parametrize("kilobytes", [1, 4, 14])
def test_metadata_of_some_kilobytes_pass(running: Deployment, kilobytes: int) -> None:
    with running.stub() as stub:
        assert stub.GetContact(READ, metadata=[("x-padding", "x" * kilobytes * 1024)]).name == READ.name


@pytest.mark.parametrize("kilobytes", [17, 64])
def test_more_metadata_never_do(running: Deployment, kilobytes: int) -> None:
    before = len(running.contacts.seen)
    with running.stub() as stub:
        for _ in range(3):
            sent = [("x-padding", "x" * kilobytes * 1024)]
            assert refused(lambda sent=sent: stub.GetContact(READ, metadata=sent)).code() is EXHAUSTED
    assert len(running.contacts.seen) == before


def test_a_connection_has_at_least_so_many_calls_under_way_and_the_others_are_told_to_come_again(
    running: Deployment,
) -> None:
    gate = threading.Event()
    running.contacts.deed = lambda: None if gate.wait(30) else pytest.fail("nobody opened the gate")
    with running.stub() as stub:
        calls = [stub.GetContact.future(READ) for _ in range(200)]
        gate.set()
        codes = [call.code() for call in calls]
    assert codes.count(grpc.StatusCode.OK) >= 128
    # HTTP/2 refuses a stream too many before the server sees it, so gRPC calls it unavailable, and repeats it.
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}


def test_a_tenant_that_lets_too_many_calls_wait_is_told_and_others_are_answered(running: Deployment) -> None:
    gate, begun = threading.Event(), threading.Semaphore(0)

    def stand() -> None:
        begun.release()
        assert gate.wait(30)

    with running.stub() as one, running.stub() as two, running.stub(token(anna("rival"))) as other:
        one.GetContact(READ)
        rivals = pb.GetContactRequest(name="tenants/rival/contacts/c1")
        other.GetContact(rivals)
        running.contacts.deed = stand
        calls = [stub.GetContact.future(READ) for _ in range(100) for stub in (one, two)]
        assert all(begun.acquire(timeout=10) for _ in range(4))
        wait_for(calls, refused=200 - 4 - 128)
        running.contacts.deed = lambda: None
        assert other.GetContact(rivals).name == rivals.name
        gate.set()
        codes = [call.code() for call in calls]
    assert codes.count(EXHAUSTED) == 200 - 4 - 128
    assert codes.count(grpc.StatusCode.OK) == 4 + 128


def wait_for(calls: list[grpc.Future], *, refused: int) -> None:
    """Wait until so many are refused, while all others stand."""
    finished = threading.Semaphore(0)
    for call in calls:
        call.add_done_callback(lambda _: finished.release())
    assert all(finished.acquire(timeout=30) for _ in range(refused))


def test_a_tenant_beyond_its_rate_is_told_how_long_to_wait_and_others_are_not(tmp_path: Path) -> None:
    with (
        wired(opened_on("memory", tmp_path), tmp_path, rate=Rate(1, 5)) as service,
        service.stub() as stub,
        service.stub(anna("rival")) as other,
    ):
        name = stub.CreateContact(creating()).name
        read = pb.GetContactRequest(name=name)
        answers = [stub.GetContact.future(read) for _ in range(50)]
        refusals = [answer.exception() for answer in answers if answer.exception() is not None]
        assert 4 <= 50 - len(refusals) < 40
        for refusal in refusals:
            error = understood(refusal)
            assert (refusal.code(), error.reason) == (EXHAUSTED, "RATE_EXCEEDED")
            assert isinstance(error, RateExceeded)
            assert 0 < error.milliseconds <= 1000
            assert retry_delay(refusal) == error.milliseconds
        assert contacts(other, "tenants/rival") == []
        assert {service.ended("GetContact").reason for _ in answers} == {"", "RATE_EXCEEDED"}


def retry_delay(error: grpc.Call) -> int:
    status = rpc_status.from_call(error)
    assert status is not None
    info = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(info) for detail in status.details if detail.Is(info.DESCRIPTOR))
    return info.retry_delay.ToMilliseconds()


def test_streams_and_calls_that_fail_count_as_any_other(tmp_path: Path) -> None:
    with wired(opened_on("memory", tmp_path), tmp_path, rate=Rate(1, 5)) as service, service.stub() as stub:
        malformed = pb.GetContactRequest(name="tenants/rival/contacts/c")
        codes = [refused(lambda: stub.GetContact(malformed)).code() for _ in range(20)]
        assert codes[:5] == [grpc.StatusCode.PERMISSION_DENIED] * 5
        assert EXHAUSTED in codes
        tries = [stub.ExportContacts(pb.ExportContactsRequest(parent=ACME, format="JSON")) for _ in range(20)]
        assert EXHAUSTED in {code_of(each) for each in tries}


def code_of(stream: Iterator[pb.ExportContactsResponse]) -> grpc.StatusCode:
    try:
        list(stream)
    except grpc.RpcError as error:
        return error.code()  # type: ignore[no-any-return, attr-defined]
    return grpc.StatusCode.OK
