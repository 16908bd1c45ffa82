"""A tenant is closed at identity, and the contacts service hears of it: both on loopback ports, over mutual TLS."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import attrs
import grpc
import pytest

from capsule_api.contacts.v1 import contacts_pb2 as contacts
from capsule_api.contacts.v1 import contacts_pb2_grpc
from capsule_api.contacts.v1.contacts_pb2_grpc import ContactsServiceStub
from capsule_api.holder.v1 import holder_pb2, holder_pb2_grpc
from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_api.identity.v1.identity_pb2_grpc import IdentityServiceStub
from capsule_core.closing import GRACE
from capsule_core.closure import Closure
from capsule_core.names import ActorRef, TenantId
from capsule_core.stores import EVERYONE
from capsule_services.contacts.servicer import ContactsServicer
from capsule_services.identity.__main__ import authenticator, servicers
from capsule_services.identity.herald import Herald
from capsule_services.identity.passwords import Passwords
from capsule_services.runtime.callers import Anonymous, Authenticator
from capsule_services.runtime.certificates import Credential, prepared
from capsule_services.runtime.channels import Peers, open_channel, publish_address
from capsule_services.runtime.doors import BELIEVED, Doors
from capsule_services.runtime.holders.client import RemoteHolder
from capsule_services.runtime.holders.servicer import HolderServicer
from capsule_services.runtime.log import made_log
from capsule_services.runtime.permission import permitted_by_identity
from capsule_services.runtime.server import Served
from capsule_services.runtime.server import opened as listening
from capsule_services.runtime.tokens import KeyRing
from tests.services.chassis import refused, wall
from tests.services.office import KINDS, Office, office, opened_in_memory
from tests.services.premises import PASSWORD, Premises, opened, sign_up_request


@attrs.frozen
class Heard:
    """A holder over the wire; *said* counts what it took."""

    holder: RemoteHolder
    said: threading.Semaphore = attrs.Factory(lambda: threading.Semaphore(0))

    def close(self, tenant: TenantId, *, closed: datetime, by: ActorRef, now: datetime) -> None:
        self.holder.close(tenant, closed=closed, by=by, now=now)
        self.said.release()

    def reopen(self, tenant: TenantId, *, closed: datetime, by: ActorRef, now: datetime) -> None:
        self.holder.reopen(tenant, closed=closed, by=by, now=now)
        self.said.release()

    def wait(self) -> None:
        assert self.said.acquire(timeout=30)


@attrs.define
class Town:
    """Identity and contacts by one clock; *seconds* is what the doors of contacts go by."""

    premises: Premises
    office: Office
    heard: Heard
    credential: Credential
    peers: Peers
    addresses: dict[str, str]
    seconds: list[float]

    def token(self, tenant: str, email: str = "anna@example.org") -> str:
        with open_channel(self.addresses["identity"], service="identity", credential=self.credential) as channel:
            request = pb.SignInRequest(tenant=tenant, email=email, password=PASSWORD)
            token: str = IdentityServiceStub(channel).SignIn(request).token
            return token

    def at(self, service: str, token: str, method: str, request: Any) -> Any:
        stub = IdentityServiceStub if service == "identity" else ContactsServiceStub
        with open_channel(self.addresses[service], service=service, credential=self.credential, token=token) as channel:
            return getattr(stub(channel), method)(request)

    def believe(self) -> None:
        """Let the doors of contacts look again."""
        self.seconds[0] += BELIEVED

    def dissolve(self) -> int:
        holding = self.office.holding
        duty = holding.holder.dissolution(holding.random, may_begin=permitted_by_identity(self.peers))
        now = holding.now()
        return sum(part.subjects for t in duty.waiting(now, EVERYONE) for part in duty.slices(t, now=now))


def contacts_at(here: Office, doors: Doors, premises: Premises, credential: Credential, stack: ExitStack) -> str:
    ring = KeyRing(premises.issuer.jwks, premises.issuer.wall)
    holding, paging = here.holding, here.opened.paging
    server = stack.enter_context(
        listening(
            Served(
                contacts.DESCRIPTOR.services_by_name["ContactsService"],
                contacts_pb2_grpc.add_ContactsServiceServicer_to_server,
                ContactsServicer(holding=holding, paging=paging, reporter=here.reporter),
            ),
            Served(
                holder_pb2.DESCRIPTOR.services_by_name["HolderService"],
                holder_pb2_grpc.add_HolderServiceServicer_to_server,
                HolderServicer(holding, here.opened.signer, paging),
            ),
            domain="contacts.capsule",
            listen="127.0.0.1:0",
            credential=credential,
            authenticator=Authenticator(verify=ring.verify, peers=frozenset({"identity"}), bounded=doors.bounded),
            observe=lambda _: None,
        )
    )
    server.ready()
    address: str = server.address
    return address


def identity_at(premises: Premises, wake: Callable[[], object], credential: Credential, stack: ExitStack) -> str:
    holding, issuer = premises.holding, premises.issuer
    passwords = Passwords(premises.hasher)
    server = stack.enter_context(
        listening(
            *servicers(holding, premises.servicer.paging, issuer, passwords=passwords, herald=wake),
            domain="identity.capsule",
            listen="127.0.0.1:0",
            credential=credential,
            authenticator=authenticator(holding, issuer),
            observe=lambda _: None,
        )
    )
    server.ready()
    address: str = server.address
    return address


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    credentials = prepared(tmp_path / "tls", ["identity", "contacts"], now=wall())
    seconds, stopped, places = [0.0], threading.Event(), tmp_path / "addresses"
    places.mkdir()
    with ExitStack() as stack:
        premises = stack.enter_context(opened())
        kept = opened_in_memory(tmp_path, "contacts", KINDS)
        stack.callback(kept.close)
        here = office(attrs.evolve(kept, holding=attrs.evolve(kept.holding, clock=premises.clock)), tmp_path)
        doors = Doors(Closure(here.holding.repository), lambda: seconds[0])
        there = contacts_at(here, doors, premises, credentials["contacts"], stack)
        channel = stack.enter_context(open_channel(there, service="contacts", credential=credentials["identity"]))
        heard, log = Heard(RemoteHolder("contacts", lambda: channel)), made_log(StringIO(), service="identity")
        told = {"contacts": heard}
        herald = Herald(premises.holding, told, tmp_path / "told", stopped, log)  # type: ignore[arg-type]
        addresses = {"contacts": there, "identity": identity_at(premises, herald.wake, credentials["identity"], stack)}
        publish_address(places, "identity", addresses["identity"])
        stack.callback(herald.wake)
        stack.callback(stopped.set)
        herald.start()
        peers = Peers(places, credentials["contacts"])
        yield Town(premises, here, heard, credentials["client"], peers, addresses, seconds)


def made(town: Town) -> tuple[str, str, contacts.Contact]:
    """Sign up, and keep somebody."""
    tenant = town.premises.ask(_anyone(), "SignUp", sign_up_request()).tenant.name
    anna = town.token(tenant)
    contact = contacts.Contact(person=contacts.Person(given_name="Ada"))
    kept = town.at("contacts", anna, "CreateContact", contacts.CreateContactRequest(parent=tenant, contact=contact))
    return tenant, anna, kept


def _anyone() -> Anonymous:
    return Anonymous()


def test_once_closed_only_looking_is_left_and_when_its_time_is_over_nothing_is(town: Town) -> None:
    tenant, anna, kept = made(town)
    read, another = contacts.GetContactRequest(name=kept.name), contacts.CreateContactRequest(parent=tenant)
    another.contact.person.given_name = "Bea"
    town.at("identity", anna, "CloseTenant", pb.CloseTenantRequest(name=tenant, confirm=True))
    town.heard.wait()
    town.believe()
    assert town.at("contacts", anna, "GetContact", read) == kept
    assert refused(lambda: town.at("contacts", anna, "CreateContact", another)).code() is (
        grpc.StatusCode.PERMISSION_DENIED
    )
    town.at("identity", anna, "ReopenTenant", pb.ReopenTenantRequest(name=tenant))
    town.heard.wait()
    town.believe()
    town.at("contacts", anna, "CreateContact", another)
    town.at("identity", anna, "CloseTenant", pb.CloseTenantRequest(name=tenant, confirm=True))
    town.premises.clock.forward(GRACE - timedelta.resolution)
    town.heard.wait()
    assert town.dissolve() == 0
    town.premises.clock.forward(timedelta.resolution)
    town.premises.clock.forward(timedelta.resolution)  # no two closings are of one moment
    assert town.dissolve() == 2
    town.believe()
    anna = town.token(tenant)
    for service, method, request in (
        ("contacts", "CreateContact", another),
        ("identity", "ReopenTenant", pb.ReopenTenantRequest(name=tenant)),
    ):
        error = refused(lambda s=service, m=method, r=request: town.at(s, anna, m, r))  # type: ignore[misc]
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "the account was closed" in str(error.details())


def test_everybody_elses_session_ends_at_contacts_too(town: Town) -> None:
    tenant, anna, kept = made(town)
    request = pb.InviteUserRequest(parent=tenant)
    request.invitation.MergeFrom(pb.Invitation(display_name="Ben", email="ben@example.org", role=pb.ADMINISTRATOR))
    token = town.at("identity", anna, "InviteUser", request).token
    town.premises.ask(_anyone(), "AcceptInvitation", pb.AcceptInvitationRequest(token=token, password=PASSWORD))
    ben, read = town.token(tenant, "ben@example.org"), contacts.GetContactRequest(name=kept.name)
    assert town.at("contacts", ben, "GetContact", read) == kept
    town.at("identity", anna, "CloseTenant", pb.CloseTenantRequest(name=tenant, confirm=True))
    town.heard.wait()
    town.believe()
    error = refused(lambda: town.at("contacts", ben, "GetContact", read))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
