"""A deployment with two companies in it, and the connections to attack it over."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs
import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor

from capsule_api.contacts.v1 import contacts_pb2 as contacts
from capsule_api.identity.v1 import identity_pb2
from capsule_api.policy.v1 import policy_pb2
from capsule_core.receipts import Receipt
from capsule_services.demo.company import PASSWORD, Desk, request_id, sign_in, sign_up
from capsule_services.runtime.certificates import prepared
from capsule_services.runtime.channels import open_channel
from capsule_services.runtime.clock import wall_time
from capsule_services.runtime.deployment import Deployment, Options, running
from capsule_services.runtime.layout import ORDER
from tests.wire.plausible import Plausible, declared

__all__ = ["Town", "asked", "channel_for", "town_in"]


@attrs.frozen(kw_only=True)
class Town:
    """A deployment with two companies in it, and the connections to attack it over; *ours* is what the first has."""

    deployment: Deployment
    chief: Desk
    other: Desk
    channels: Mapping[str, grpc.Channel]
    leaving: Callable[[], grpc.Channel]
    ours: Plausible
    their_contact: str
    their_entry: str


@contextlib.contextmanager
def town_in(folder: Path) -> Iterator[Town]:
    with contextlib.ExitStack() as stack:
        unhurried = stack.enter_context(pytest.MonkeyPatch.context())
        for name in ("CAPSULE_RATE", "CAPSULE_BURST"):  # or a refusal would be for the number of attacks
            unhurried.setenv(name, "1000000")
        deployment = stack.enter_context(running(folder, Options()))
        chief, other = (_signed_up(deployment, letter) for letter in "ab")
        channels = {name: stack.enter_context(each) for name, each in _channels(folder, deployment, chief).items()}
        their_contact, their_entry = _furnished(other)
        yield Town(
            deployment=deployment,
            chief=chief,
            other=other,
            channels=channels,
            leaving=lambda: stack.enter_context(_leaving(deployment, other)),
            ours=_plausible(chief),
            their_contact=their_contact,
            their_entry=their_entry,
        )


def _signed_up(deployment: Deployment, letter: str) -> Desk:
    tenant, _ = sign_up(deployment, f"Company {letter}", "Ada Quill", f"{letter}@example.org")
    return sign_in(deployment, tenant, f"{letter}@example.org")


def _channels(folder: Path, deployment: Deployment, chief: Desk) -> Mapping[str, grpc.Channel]:
    token, credentials = _token(chief, "a@example.org"), prepared(folder / "tls", ORDER, now=wall_time())
    at, client = deployment.addresses, deployment.credential
    return {
        **{name: open_channel(at[name], service=name, credential=client, token=token) for name in at},
        "holder": open_channel(at["contacts"], service="contacts", credential=credentials["privacy"]),
        "closings": open_channel(at["identity"], service="identity", credential=credentials["contacts"]),
        "reports": open_channel(at["privacy"], service="privacy", credential=credentials["contacts"]),
    }


def _leaving(deployment: Deployment, other: Desk) -> grpc.Channel:
    """Sign in once more, so that whoever signs out leaves everybody's session open."""
    address, client = deployment.addresses["identity"], deployment.credential
    return open_channel(address, service="identity", credential=client, token=_token(other, "b@example.org"))


def _token(desk: Desk, email: str) -> str:
    request = identity_pb2.SignInRequest(tenant=desk.tenant, email=email, password=PASSWORD)
    return desk.identity.SignIn(request).token


def _furnished(desk: Desk) -> tuple[str, str]:
    contact = contacts.Contact(person=contacts.Person(given_name="Zephyra"), tags=["t"])
    request = contacts.CreateContactRequest(parent=desk.tenant, contact=contact, request_id=request_id())
    name = desk.contacts.CreateContact(request).name
    entry = contacts.Entry(kind=contacts.Entry.NOTE, body="Rang.")
    made = desk.contacts.CreateEntry(contacts.CreateEntryRequest(parent=name, entry=entry, request_id=request_id()))
    return name, made.name


def _plausible(desk: Desk) -> Plausible:
    contact, entry = _furnished(desk)
    spare, gone = _furnished(desk)[0], _purged(desk)
    return Plausible(
        tenant=desk.tenant,
        user=desk.user,
        contact=contact,
        entry=entry,
        subject=f"{desk.tenant}/subjects/{spare.rpartition('/')[2]}",
        erasure=f"{desk.tenant}/erasures/{gone.statement.erasure}",
        gone=f"{desk.tenant}/subjects/{gone.statement.subjects[0]}",
        receipt=gone.document,
        documents=desk.identity.ListDocuments(identity_pb2.ListDocumentsRequest()).documents,
        invited=lambda: _invited(desk),
    )


def _purged(desk: Desk) -> Receipt:
    name, _ = _furnished(desk)
    desk.contacts.DeleteContact(contacts.DeleteContactRequest(name=name, request_id=request_id()))
    request = contacts.PurgeContactRequest(name=name, confirm=True, request_id=request_id())
    return Receipt.decode(desk.contacts.PurgeContact(request).receipt)


def _invited(desk: Desk) -> str:
    email = f"{request_id()}@example.org"
    invitation = identity_pb2.Invitation(display_name="Bo Vane", email=email, role=identity_pb2.STANDARD)
    request = identity_pb2.InviteUserRequest(parent=desk.tenant, invitation=invitation)
    return desk.identity.InviteUser(request).token


def channel_for(town: Town, service: str, method: MethodDescriptor) -> grpc.Channel:
    if service == "privacy" and declared(method).callers == policy_pb2.SERVICES:
        return town.channels["reports"]
    if service == "identity" and declared(method).callers == policy_pb2.SERVICES:
        return town.channels["closings"]
    if method.name == "SignOut":
        return town.leaving()
    return town.channels["contacts" if service == "ledger" else service]


def asked(channel: grpc.Channel, method: MethodDescriptor, messages: Sequence[bytes]) -> grpc.Call | None:
    """Send raw bytes to a method; return the error, or None if it was answered."""
    kind = ("stream" if method.client_streaming else "unary", "stream" if method.server_streaming else "unary")
    name = f"/{method.containing_service.full_name}/{method.name}"
    call = getattr(channel, "_".join(kind))(name, request_serializer=lambda raw: raw)
    try:
        answer = call(iter(messages) if method.client_streaming else messages[0])
        if method.server_streaming:
            for _ in answer:
                pass
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        return error
    return None
