"""A request id over the wire, on the real service: one effect, one answer, whatever happens in between."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import grpc
import pytest

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.contacts.v1.contacts_pb2_grpc import ContactsServiceStub
from capsule_core.errors import RequestInFlight
from capsule_core.receipts import Receipt
from capsule_services.runtime.channels import open_channel
from capsule_services.runtime.faults import understood
from capsule_services.runtime.requests import InFlight
from tests.services.chassis import anna, refused, token
from tests.services.office import fresh_id, opened_on
from tests.services.wired import ACME, Gate, Wired, contacts, creating, process, wired

pytestmark = pytest.mark.law("L9")


@pytest.fixture(params=["memory", "sqlite"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Wired]:
    with wired(opened_on(request.param, tmp_path), tmp_path) as running:
        yield running


def reason(error: grpc.Call) -> str:
    return understood(error).reason  # type: ignore[arg-type]


def purged(stub: ContactsServiceStub, name: str, request_id: str = "") -> pb.PurgeContactResponse:
    stub.DeleteContact(pb.DeleteContactRequest(name=name, request_id=fresh_id()))
    return stub.PurgeContact(pb.PurgeContactRequest(name=name, confirm=True, request_id=request_id))


def test_the_same_request_has_one_effect_and_one_answer_and_another_body_none(service: Wired) -> None:
    asked = creating()
    with service.stub() as stub:
        first = stub.CreateContact(asked)
        assert stub.CreateContact(asked) == first
        error = refused(lambda: stub.CreateContact(creating("Eve", request_id=asked.request_id)))
        assert (error.code(), reason(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED")
        assert contacts(stub) == [first.name]
        assert stub.GetContact(pb.GetContactRequest(name=first.name)).person.given_name == "Ada"
    assert service.changes("CreateContact") == 1


def test_what_comes_while_the_first_is_worked_on_is_told_so_and_gets_its_answer_afterwards(service: Wired) -> None:
    gate, asked = Gate(), creating()
    service.servicer.after = gate.stand
    with service.stub() as stub:
        first = stub.CreateContact.future(asked)
        assert gate.arrived.wait(30)
        error = refused(lambda: stub.CreateContact(asked))
        assert (error.code(), reason(error)) == (grpc.StatusCode.ABORTED, "REQUEST_IN_FLIGHT")
        gate.opened.set()
        answer = first.result(30)
        assert stub.CreateContact(asked) == answer
        assert len(contacts(stub)) == 1


def test_whoever_was_overtaken_by_the_same_request_in_another_process_has_no_effect(service: Wired) -> None:
    gate, asked, holding = Gate(), creating(), service.servicer.holding

    def random(count: int) -> bytes:
        gate.stand()  # between the look for an answer and the change
        return holding.random(count)

    service.servicer.holding = attrs.evolve(holding, random=random)
    with service.stub() as stub:
        slow = stub.CreateContact.future(asked)
        assert gate.arrived.wait(30)
        with wired(attrs.evolve(service.office.opened, stack=_Nothing()), service.office.folder / "other") as other:
            with other.stub() as there:
                first = there.CreateContact(asked)
            gate.opened.set()
            error = refused(lambda: slow.result(30))
        assert (error.code(), reason(error)) == (grpc.StatusCode.ABORTED, "REQUEST_IN_FLIGHT")
        assert stub.CreateContact(asked) == first
        assert contacts(stub) == [first.name]
    assert service.changes("CreateContact") == 1


class _Nothing:
    def close(self) -> None:
        return


REQUESTS: list[Any] = [
    ("CreateContact", lambda _: creating()),
    ("DeleteContact", lambda name: pb.DeleteContactRequest(name=name, request_id=fresh_id())),
    (
        "UpdateContact",
        lambda name: pb.UpdateContactRequest(
            contact=pb.Contact(name=name, about="Changed.", person=pb.Person(given_name="Augusta")),
            request_id=fresh_id(),
        ),
    ),
]


@pytest.mark.parametrize(("method", "made"), REQUESTS, ids=[method for method, _ in REQUESTS])
def test_fifty_at_once_have_one_effect_and_one_answer(service: Wired, method: str, made: Any) -> None:
    with service.stub() as stub, ThreadPoolExecutor(50) as pool:
        asked = made(stub.CreateContact(creating("Grace")).name)
        before, together = service.changes(method), threading.Barrier(50)

        def ask(_: int) -> Any:
            together.wait(30)
            for _ in range(1000):
                try:
                    return getattr(stub, method)(asked)
                except grpc.RpcError as error:
                    assert type(understood(error)) is RequestInFlight
            raise AssertionError

        answers = list(pool.map(ask, range(50)))
    assert all(answer == answers[0] for answer in answers)
    assert service.changes(method) == before + 1


def test_after_an_erasure_a_create_is_told_so_and_a_purge_gets_its_receipt(service: Wired) -> None:
    asked, purge = creating(), fresh_id()
    with service.stub() as stub:
        made = stub.CreateContact(asked)
        answer = purged(stub, made.name, purge)
        error = refused(lambda: stub.CreateContact(asked))
        assert (error.code(), reason(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "SUBJECT_ERASED")
        again = stub.PurgeContact(pb.PurgeContactRequest(name=made.name, confirm=True, request_id=purge))
        assert again == answer
        assert Receipt.decode(again.receipt).statement.subjects == (made.name.rpartition("/")[2],)
        assert contacts(stub) == []


def test_the_same_request_id_of_another_user_or_tenant_has_nothing_to_do_with_it(service: Wired) -> None:
    asked = creating()
    elsewhere = creating("Eve", parent="tenants/rival", request_id=asked.request_id)
    other = attrs.evolve(anna(), user="u2")
    with service.stub() as mine, service.stub(other) as colleague, service.stub(anna("rival")) as rival:
        names = [
            mine.CreateContact(asked).name,
            colleague.CreateContact(creating("Eve", request_id=asked.request_id)).name,
            rival.CreateContact(elsewhere).name,
        ]
        assert len(set(names)) == 3
        assert mine.CreateContact(asked).name == names[0]
        assert sorted(contacts(mine)) == sorted(names[:2])
        assert contacts(rival, "tenants/rival") == names[2:]


def test_a_request_of_another_caller_is_worked_on_at_the_same_time() -> None:
    flying, asked = InFlight(), creating()
    with flying.alone(asked, "method", "u1"), flying.alone(asked, "method", "u2"), flying.alone(asked, "other", "u1"):
        with pytest.raises(RequestInFlight), flying.alone(asked, "method", "u1"):
            raise AssertionError
        unnamed = creating(request_id="")
        with flying.alone(unnamed, "method", "u1"), flying.alone(unnamed, "method", "u1"):
            pass
    assert not flying._keys


DEATHS = {
    "inside the transaction": "repository.bears_witness = lambda *_: die",
    "between commit and answer": """
answer = ContactsServicer._answer
ContactsServicer._answer = die
""",
}


@pytest.mark.parametrize("deed", DEATHS.values(), ids=DEATHS)
def test_a_request_repeated_after_a_crash_has_one_effect(tmp_path: Path, deed: str) -> None:
    asked = creating()
    with process(tmp_path, deed) as (child, credential, address):
        with open_channel(address, service="contacts", credential=credential, token=token()) as channel:
            error = refused(lambda: ContactsServiceStub(channel).CreateContact(asked))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert child.wait(30) == -signal.SIGKILL
    with (
        process(tmp_path) as (_, credential, address),
        open_channel(address, service="contacts", credential=credential, token=token()) as channel,
    ):
        stub = ContactsServiceStub(channel)
        before = contacts(stub)
        made = stub.CreateContact(asked)
        assert stub.CreateContact(asked) == made
        assert contacts(stub) == [made.name]
    assert before == ([] if "witness" in deed else [made.name])
    assert made.name.startswith(f"{ACME}/contacts/")
