"""Page tokens over the wire: whoever forges one, or brings it elsewhere, learns nothing from it."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator

import attrs
import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.roles import Role
from capsule_services.runtime.faults import understood
from tests.services.chassis import anna, refused
from tests.services.office import opened_on
from tests.services.wired import ACME, Wired, contacts, creating, wired

RIVAL = "tenants/rival"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wired]:
    folder = tmp_path_factory.mktemp("pages")
    with wired(opened_on("memory", folder), folder) as running:
        with running.stub() as mine, running.stub(anna("rival")) as other:
            for number in range(5):
                mine.CreateContact(creating(f"Ada {number}"))
                other.CreateContact(creating(f"Eve {number}", parent=RIVAL))
        yield running


def page(token: str = "", **asked: object) -> pb.ListContactsRequest:
    return pb.ListContactsRequest(**{"parent": ACME, "page_size": 2, "page_token": token, **asked})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def given_token(service: Wired) -> str:
    with service.stub() as stub:
        return stub.ListContacts(page()).next_page_token


def test_pages_hold_each_contact_once_whatever_comes_in_between(service: Wired) -> None:
    with service.stub(anna("third")) as stub:
        parent = "tenants/third"
        made = {stub.CreateContact(creating(parent=parent)).name for _ in range(5)}
        names, token = list[str](), ""
        while True:
            answer = stub.ListContacts(page(token, parent=parent, page_size=len(names) % 3 + 1))
            names += [contact.name for contact in answer.contacts]
            stub.CreateContact(creating("Late", parent=parent))
            token = answer.next_page_token
            if not token:
                break
    assert len(names) == len(set(names))
    assert made <= set(names)


ELSEWHERE = {
    "another tenant": (anna("rival"), {"parent": RIVAL}),
    "another user": (attrs.evolve(anna(), user="u2"), {}),
    "another role of another user": (attrs.evolve(anna(role=Role.STANDARD), user="u3"), {}),
    "another filter": (anna(), {"tag": "friends"}),
    "trash as well": (anna(), {"show_deleted": True}),
}


@pytest.mark.law("L1")
@pytest.mark.parametrize(("who", "asked"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_token_is_good_for_whom_and_what_it_was_made_for(
    service: Wired, given_token: str, who: object, asked: dict[str, object]
) -> None:
    with service.stub() as mine, service.stub(who) as stub:  # type: ignore[arg-type]
        assert len(mine.ListContacts(page(given_token)).contacts) == 2
        assert stub.ListContacts(page(**asked)) is not None
        error = refused(lambda: stub.ListContacts(page(given_token, **asked)))
    assert (error.code(), understood(error).reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")


def test_a_token_of_one_method_is_none_of_another(service: Wired, given_token: str) -> None:
    with service.stub() as stub:
        asked = pb.SearchContactsRequest(parent=ACME, page_size=2, page_token=given_token, name_prefix="Ada")
        error = refused(lambda: stub.SearchContacts(asked))
    assert understood(error).reason == "PAGE_TOKEN_INVALID"


@given(data=st.data())
def test_a_forged_token_is_refused_and_never_opens_what_it_points_at(
    service: Wired, given_token: str, data: st.DataObject
) -> None:
    raw = bytearray(base64.urlsafe_b64decode(given_token + "=" * (-len(given_token) % 4)))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    cut = bytes(raw[: data.draw(st.integers(1, len(raw)))])
    forged = base64.urlsafe_b64encode(cut).decode().rstrip("=")
    if forged != given_token:
        with service.stub() as stub:
            error = refused(lambda: stub.ListContacts(page(forged)))
        assert understood(error).reason == "PAGE_TOKEN_INVALID"


def test_a_token_of_another_service_or_before_a_new_key_is_refused(service: Wired, given_token: str) -> None:
    paging = service.servicer.paging
    service.servicer.paging = attrs.evolve(paging, key=secrets.token_bytes(32))
    try:
        with service.stub() as stub:
            assert understood(refused(lambda: stub.ListContacts(page(given_token)))).reason == "PAGE_TOKEN_INVALID"
            assert len(contacts(stub)) == 5
    finally:
        service.servicer.paging = paging
