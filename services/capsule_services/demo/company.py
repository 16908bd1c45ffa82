"""The company of the story, and its people at their desks: each with a connection and a token of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from uuid import UUID, uuid4

import attrs
import grpc

from capsule_api.contacts.v1 import contacts_pb2, contacts_pb2_grpc
from capsule_api.identity.v1 import identity_pb2, identity_pb2_grpc
from capsule_api.ledger.v1 import ledger_pb2_grpc
from capsule_api.privacy.v1 import privacy_pb2_grpc
from capsule_core.errors import CapsuleError
from capsule_services.runtime.channels import open_channel
from capsule_services.runtime.deployment import Deployment
from capsule_services.runtime.faults import understood

__all__ = [
    "PASSWORD",
    "CheckFailed",
    "Desk",
    "expect",
    "invite",
    "named_request",
    "refused",
    "request_id",
    "send_file",
    "sign_in",
    "sign_up",
    "throw_away",
]

PASSWORD = "correct horse battery staple"  # noqa: S105  the people of a demo have no secrets

_PIECE = 256 * 1024


class CheckFailed(Exception):
    """The system did not do what it promises."""


def expect(condition: object, promise: str) -> None:
    """Fail unless *condition* holds; *promise* is what was promised."""
    if not condition:
        raise CheckFailed(promise)


@contextlib.contextmanager
def refused(reason: str, promise: str) -> Generator[None]:
    """Fail unless what is done inside is refused with *reason*."""
    try:
        yield
    except grpc.RpcError as error:
        told: CapsuleError = understood(error)
        expect(told.reason == reason, f"{promise}: refused as {told.reason} instead of {reason}")
        return
    raise CheckFailed(f"{promise}: it was not refused")


@attrs.frozen(kw_only=True)
class Desk:
    """One person's place of work."""

    tenant: str
    user: str
    contacts: contacts_pb2_grpc.ContactsServiceStub
    identity: identity_pb2_grpc.IdentityServiceStub
    privacy: privacy_pb2_grpc.PrivacyServiceStub
    ledger: ledger_pb2_grpc.LedgerServiceStub


def sign_in(deployment: Deployment, tenant: str, email: str) -> Desk:
    """Sign somebody in, and connect them to the services."""
    anybody = _identity(deployment)
    answer = anybody.SignIn(identity_pb2.SignInRequest(tenant=tenant, email=email, password=PASSWORD))
    channels = {
        name: open_channel(address, service=name, credential=deployment.credential, token=answer.token)
        for name, address in deployment.addresses.items()
    }
    return Desk(
        tenant=tenant,
        user=answer.user.name,
        contacts=contacts_pb2_grpc.ContactsServiceStub(channels["contacts"]),
        identity=identity_pb2_grpc.IdentityServiceStub(channels["identity"]),
        privacy=privacy_pb2_grpc.PrivacyServiceStub(channels["privacy"]),
        ledger=ledger_pb2_grpc.LedgerServiceStub(channels["contacts"]),
    )


def sign_up(deployment: Deployment, company: str, person: str, email: str) -> tuple[str, int]:
    """Sign a company up with its first super administrator; return the tenant and how many documents were accepted."""
    anybody = _identity(deployment)
    documents = anybody.ListDocuments(identity_pb2.ListDocumentsRequest()).documents
    answer = anybody.SignUp(
        identity_pb2.SignUpRequest(
            tenant_display_name=company,
            super_administrator=identity_pb2.SignUpRequest.SuperAdministrator(
                display_name=person, email=email, password=PASSWORD
            ),
            acceptances=[identity_pb2.Acceptance(kind=each.kind, version=each.version) for each in documents],
            request_id=request_id(),
        )
    )
    return answer.tenant.name, len(answer.tenant.acceptances)


def invite(deployment: Deployment, by: Desk, person: str, email: str, role: identity_pb2.Role.ValueType) -> None:
    """Invite a colleague, who accepts."""
    invitation = identity_pb2.Invitation(display_name=person, email=email, role=role)
    told = by.identity.InviteUser(
        identity_pb2.InviteUserRequest(parent=by.tenant, invitation=invitation, request_id=request_id())
    )
    _identity(deployment).AcceptInvitation(
        identity_pb2.AcceptInvitationRequest(token=told.token, password=PASSWORD, request_id=request_id())
    )


def send_file(
    by: Desk,
    content: bytes,
    layout: contacts_pb2.ImportContactsRequest.Layout.ValueType,
    *,
    tags: Sequence[str],
    named: str,
) -> contacts_pb2.ImportReport:
    """Send an address book under a request id, so that sending it again applies nothing twice."""

    def messages() -> Iterator[contacts_pb2.ImportContactsRequest]:
        header = contacts_pb2.ImportContactsRequest.Header(
            parent=by.tenant, layout=layout, owner=by.user, tags=tags, request_id=named
        )
        yield contacts_pb2.ImportContactsRequest(header=header)
        for start in range(0, len(content), _PIECE):
            yield contacts_pb2.ImportContactsRequest(data=content[start : start + _PIECE])

    return by.contacts.ImportContacts(messages())


def throw_away(by: Desk, contact: str) -> contacts_pb2.Contact:
    """Delete a contact."""
    return by.contacts.DeleteContact(contacts_pb2.DeleteContactRequest(name=contact, request_id=request_id()))


def request_id() -> str:
    """Make a new request id."""
    return str(uuid4())


def named_request(digest: bytes) -> str:
    """Make the request id of a thing that has one, whenever it is sent."""
    return str(UUID(bytes=digest[:16], version=4))


def _identity(deployment: Deployment) -> identity_pb2_grpc.IdentityServiceStub:
    channel = open_channel(deployment.addresses["identity"], service="identity", credential=deployment.credential)
    return identity_pb2_grpc.IdentityServiceStub(channel)
