"""The real contacts service behind a real server on the loopback: what a client sees of it over mutual TLS."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import attrs

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.contacts.v1 import contacts_pb2_grpc
from capsule_api.contacts.v1.contacts_pb2_grpc import ContactsServiceStub
from capsule_core.ledger import Leaf
from capsule_services.contacts.servicer import ContactsServicer
from capsule_services.runtime.callers import Authenticator, UserCaller, any_session
from capsule_services.runtime.certificates import Credential, prepared
from capsule_services.runtime.channels import open_channel
from capsule_services.runtime.fairness import Rate
from capsule_services.runtime.health import Health
from capsule_services.runtime.interceptor import Outcome
from capsule_services.runtime.opening import Opened
from capsule_services.runtime.server import Served, opened
from capsule_services.runtime.settings import environment
from capsule_services.runtime.tokens import KeyRing, published
from tests.services.chassis import KEY, anna, token, wall
from tests.services.forked import Forked
from tests.services.office import Office, fresh_id, office

ACME = "tenants/acme"


@attrs.define(slots=False)
class Watched(ContactsServicer):
    """The servicer; *after* happens when a change is kept and not answered yet."""

    after: Callable[[], None] = lambda: None

    def CreateContact(self, request: Any, context: Any) -> Any:
        answer = super().CreateContact(request, context)
        self.after()
        return answer


@attrs.frozen
class Wired:
    office: Office
    servicer: Watched
    address: str
    credential: Credential
    outcomes: SimpleQueue[Outcome]

    def ended(self, method: str) -> Outcome:
        """Wait until a call of *method* ends, and say how it did; earlier calls of others are forgotten."""
        while True:
            outcome = self.outcomes.get(timeout=30)
            if outcome.method.endswith(f"/{method}"):
                return outcome

    @contextmanager
    def stub(self, caller: UserCaller | None = None) -> Iterator[ContactsServiceStub]:
        sent = token(caller or anna())
        with open_channel(self.address, service="contacts", credential=self.credential, token=sent) as channel:
            yield ContactsServiceStub(channel)

    def leaves(self, verb: str) -> list[Leaf]:
        """Return the leaves of a verb in the log of changes."""
        ledger = self.office.holding.ledger
        leaves = map(Leaf.decode, ledger.read(0, ledger.head().size))
        return [leaf for leaf in leaves if leaf.act == f"contacts.{verb}"]

    def changes(self, verb: str) -> int:
        return len(self.leaves(verb))


@contextmanager
def wired(
    opening: Opened,
    folder: Path,
    *,
    rate: Rate | None = None,
    health: Health | None = None,
    is_open: Callable[[UserCaller], bool] = any_session,
) -> Iterator[Wired]:
    """Serve what *opening* opened; it is closed at the end."""
    desk, outcomes, ring = office(opening, folder), SimpleQueue[Outcome](), KeyRing(lambda: published(KEY), wall)
    credentials = prepared(folder / "tls", ["contacts"], now=wall())
    servicer = Watched(holding=opening.holding, paging=opening.paging, reporter=desk.reporter)
    try:
        with opened(
            Served(
                pb.DESCRIPTOR.services_by_name["ContactsService"],
                contacts_pb2_grpc.add_ContactsServiceServicer_to_server,
                servicer,
            ),
            domain="contacts.capsule",
            listen="127.0.0.1:0",
            credential=credentials["contacts"],
            authenticator=Authenticator(verify=ring.verify, peers=frozenset(), is_open=is_open),
            observe=outcomes.put,
            rate=rate,
            health=health,
        ) as server:
            server.ready()
            yield Wired(desk, servicer, server.address, credentials["client"], outcomes)
    finally:
        opening.close()


@attrs.define
class Gate:
    """A place where one thread stands until it may go on; others pass."""

    arrived: threading.Event = attrs.Factory(threading.Event)
    opened: threading.Event = attrs.Factory(threading.Event)

    def stand(self) -> None:
        if not self.arrived.is_set():
            self.arrived.set()
            assert self.opened.wait(30)


def creating(given: str = "Ada", *, parent: str = ACME, request_id: str | None = None) -> pb.CreateContactRequest:
    contact = pb.Contact(person=pb.Person(given_name=given))
    return pb.CreateContactRequest(
        parent=parent, contact=contact, request_id=fresh_id() if request_id is None else request_id
    )


def contacts(stub: ContactsServiceStub, parent: str = ACME) -> list[str]:
    return [each.name for each in stub.ListContacts(pb.ListContactsRequest(parent=parent, page_size=1000)).contacts]


_PROGRAM = """
import os, signal, sys
import attrs
from capsule_core import repository
from capsule_services.contacts import __main__ as contacts
from capsule_services.contacts.servicer import ContactsServicer
from capsule_services.runtime.callers import Authenticator
from capsule_services.runtime.clock import wall_time
from capsule_services.runtime.process import run
from capsule_services.runtime.tokens import KeyRing

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def build(host):
    ring = KeyRing(lambda: JWKS, wall_time)
    return attrs.evolve(contacts.build(host), authenticator=Authenticator(verify=ring.verify, peers=frozenset()))

DEED
sys.exit(run("contacts", build))
"""


@contextmanager
def process(folder: Path, deed: str = "") -> Iterator[tuple[Forked, Credential, str]]:
    """Run the service as a process in *folder*, after *deed* has been done to it; give its address."""
    credentials = prepared(folder / "tls", ["contacts"], now=wall())
    program = _PROGRAM.replace("DEED", deed).replace("JWKS", repr(published(KEY)))
    told = environment(credentials["contacts"], data=folder / "data", addresses=folder / "addresses")
    child = Forked.begin(program, told=told)
    try:
        yield child, credentials["client"], json.loads(child.stdout.readline())["address"]
    finally:
        child.leave()
        child.wait(10)
        child.close()
