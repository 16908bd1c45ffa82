"""A small deployment for the tests of the chassis: real certificates, real servers on the loopback, tiny servicers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import grpc
from joserfc.jwk import OKPKey

from capsule_api.contacts.v1 import contacts_pb2, contacts_pb2_grpc
from capsule_api.holder.v1 import holder_pb2, holder_pb2_grpc
from capsule_core.roles import EXPORT, Authority, Role
from capsule_services.runtime.callers import Authenticator, UserCaller
from capsule_services.runtime.calls import Call, current_call
from capsule_services.runtime.certificates import Credential, prepared
from capsule_services.runtime.channels import open_channel
from capsule_services.runtime.interceptor import Outcome
from capsule_services.runtime.renewal import Renewal
from capsule_services.runtime.server import Served, Server, opened
from capsule_services.runtime.tokens import KeyRing, made_key, published, sign_token

KEY = made_key()
LIFETIME = timedelta(minutes=5)


def wall() -> datetime:
    return datetime.now(UTC)


def anna(tenant: str = "acme", role: Role = Role.SUPER_ADMINISTRATOR) -> UserCaller:
    return UserCaller(
        tenant=tenant,
        user="u1",
        authority=Authority(role, frozenset({EXPORT})),
        session="s1",  # type: ignore[arg-type]
    )


def token(caller: UserCaller | None = None, *, key: OKPKey = KEY, now: datetime | None = None) -> str:
    return sign_token(caller or anna(), key, now=now or wall(), lifetime=LIFETIME)


@attrs.define
class Contacts(contacts_pb2_grpc.ContactsServiceServicer):
    """Answers what it was asked, after *deed*; keeps the calls it saw, and counts the messages of streams."""

    deed: Callable[[], None] = lambda: None
    seen: list[Call] = attrs.Factory(list)
    begun: threading.Semaphore = attrs.Factory(lambda: threading.Semaphore(0))

    def _see(self) -> None:
        self.seen.append(current_call())
        self.deed()

    def GetContact(self, request: Any, context: Any) -> Any:
        self._see()
        return contacts_pb2.Contact(name=request.name)

    def CreateContact(self, request: Any, context: Any) -> Any:
        self._see()
        return request.contact

    def ListContacts(self, request: Any, context: Any) -> Any:
        self._see()
        return contacts_pb2.ListContactsResponse()

    def ImportContacts(self, request_iterator: Any, context: Any) -> Any:
        data = [bytes(message.data) for message in request_iterator if self.begun.release() is None]
        self._see()
        return contacts_pb2.ImportReport(created=len(data) - 1)

    def ExportContacts(self, request: Any, context: Any) -> Any:
        for number in range(3):
            self._see()
            yield contacts_pb2.ExportContactsResponse(data=bytes([number]))


class Holder(holder_pb2_grpc.HolderServiceServicer):
    def About(self, request: Any, context: Any) -> Any:
        return holder_pb2.AboutResponse(holder=current_call().actor.id)

    def Locate(self, request: Any, context: Any) -> Any:
        return holder_pb2.LocateResponse()


@attrs.define
class Deployment:
    server: Server
    credentials: Mapping[str, Credential]
    contacts: Contacts
    outcomes: list[Outcome]
    ring: KeyRing
    believed: list[OKPKey]

    def withdraw(self) -> None:
        """Believe another key from now on, and not the one that signed."""
        self.believed[:] = [other_key()]
        self.ring.refresh()

    @contextlib.contextmanager
    def channel(self, sent: str = "", *, who: str = "client") -> Iterator[grpc.Channel]:
        credential = self.credentials[who]
        with open_channel(self.server.address, service="contacts", credential=credential, token=sent) as channel:
            yield channel

    @contextlib.contextmanager
    def stub(self, sent: str | None = None, *, who: str = "client") -> Iterator[contacts_pb2_grpc.ContactsServiceStub]:
        with self.channel(token() if sent is None else sent, who=who) as channel:
            yield contacts_pb2_grpc.ContactsServiceStub(channel)


@contextlib.contextmanager
def deployed(
    folder: Path,
    *,
    dev: bool = False,
    made: datetime | None = None,
    ready: bool = True,
    outer: Sequence[grpc.ServerInterceptor] = (),
) -> Iterator[Deployment]:
    """Run contacts, and the holder beside it, in this process, on certificates *made* now or then."""
    credentials = prepared(folder / "tls", ["contacts", "privacy"], now=made or wall())
    contacts, outcomes = Contacts(), list[Outcome]()
    believed = [KEY]
    ring = KeyRing(lambda: published(*believed), wall)
    with opened(
        Served(
            contacts_pb2.DESCRIPTOR.services_by_name["ContactsService"],
            contacts_pb2_grpc.add_ContactsServiceServicer_to_server,
            contacts,
        ),
        Served(
            holder_pb2.DESCRIPTOR.services_by_name["HolderService"],
            holder_pb2_grpc.add_HolderServiceServicer_to_server,
            Holder(),
        ),
        domain="contacts.capsule",
        listen="127.0.0.1:0",
        credential=Renewal(credentials["contacts"], "contacts", wall),
        authenticator=Authenticator(
            verify=ring.verify, peers=frozenset({"contacts", "privacy"}), standing=ring.standing
        ),
        observe=outcomes.append,
        dev=dev,
        outer=outer,
    ) as server:
        if ready:
            server.ready()
        yield Deployment(server, credentials, contacts, outcomes, ring, believed)


def refused(call: Callable[[], Any]) -> grpc.Call:
    """Return the error that *call* is answered with."""
    try:
        answer = call()
        if isinstance(answer, Iterator):
            list(answer)
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        return error
    raise AssertionError("the call was answered")


def bytes_of(error: grpc.Call) -> tuple[Any, ...]:
    """Return all of an error that a caller gets to see."""
    return error.code(), error.details(), tuple(sorted((key, value) for key, value in error.trailing_metadata() or ()))


@cache
def other_key() -> OKPKey:
    return made_key()
