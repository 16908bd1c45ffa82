"""A client of the contacts service, with the typed stubs and gRPC alone: sign in, keep a contact, find it, trash it.

Run it by itself: ``python examples/client/address_book.py`` starts a deployment in a temporary folder (it needs
``pip install '.[services]'``). Or against yours (``pip install '.[api]'`` is enough), with the line that it prints::

    capsule up --data DIR > line.json &
    python examples/client/address_book.py line.json
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from capsule_api.contacts.v1 import contacts_pb2 as contacts
from capsule_api.contacts.v1.contacts_pb2_grpc import ContactsServiceStub
from capsule_api.identity.v1 import identity_pb2 as identity
from capsule_api.identity.v1.identity_pb2_grpc import IdentityServiceStub

BOOK = """First Name,Last Name,Organization Name,Labels,E-mail 1 - Label,E-mail 1 - Value
Chiara,Rossi,,friends,work,chiara@example.org
Olu,Adeyemi,,,home,not an address
"""
EMAIL, PASSWORD = "ada@example.org", "seven quiet lanterns"


@contextlib.contextmanager
def deployment() -> Iterator[dict[str, Any]]:
    """Read how to connect from the file that is named, or start a deployment of our own."""
    if sys.argv[1:]:
        yield json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", "from capsule_services.cli import main; main()", "up", "--data", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield json.loads(process.stdout.readline())
            finally:
                process.terminate()


def channel(said: dict[str, Any], service: str, token: str = "") -> grpc.Channel:
    """Connect to a service: mutual TLS, and the user's token with every call."""
    files = (Path(said[name]).read_bytes() for name in ("ca", "key", "certificate"))
    secured = grpc.ssl_channel_credentials(*files)
    if token:
        secured = grpc.composite_channel_credentials(secured, grpc.access_token_call_credentials(token))
    options = [("grpc.ssl_target_name_override", said["server_names"][service])]
    return grpc.secure_channel(said["addresses"][service], secured, options)


def signed_up(said: dict[str, Any]) -> tuple[str, str]:
    """Make a tenant and sign in to it; return its name and a token."""
    with channel(said, "identity") as connection:
        stub = IdentityServiceStub(connection)
        documents = stub.ListDocuments(identity.ListDocumentsRequest()).documents
        accepted = [identity.Acceptance(kind=each.kind, version=each.version) for each in documents]
        first = identity.SignUpRequest.SuperAdministrator(display_name="Ada", email=EMAIL, password=PASSWORD)
        made = stub.SignUp(
            identity.SignUpRequest(
                tenant_display_name="Example", super_administrator=first, acceptances=accepted, request_id=str(uuid4())
            )
        )
        signed = stub.SignIn(identity.SignInRequest(tenant=made.tenant.name, email=EMAIL, password=PASSWORD))
        return made.tenant.name, signed.token


def pieces(tenant: str, file: bytes) -> Iterator[contacts.ImportContactsRequest]:
    """Write an import as a stream: the header once, then the file in pieces."""
    layout = contacts.ImportContactsRequest.GOOGLE_CSV
    header = contacts.ImportContactsRequest.Header(parent=tenant, layout=layout, request_id=str(uuid4()))
    yield contacts.ImportContactsRequest(header=header)
    for start in range(0, len(file), 1 << 18):
        yield contacts.ImportContactsRequest(data=file[start : start + (1 << 18)])


def reason(error: grpc.RpcError) -> str:
    """Return why a call was refused: every error carries one ErrorInfo (docs/reference/errors.md)."""
    assert isinstance(error, grpc.Call)
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    return info.reason if status is not None and status.details[0].Unpack(info) else error.code().name


def main() -> None:
    with deployment() as said:
        tenant, token = signed_up(said)
        with channel(said, "contacts", token) as connection:
            stub = ContactsServiceStub(connection)
            person = contacts.Contact(
                person=contacts.Person(given_name="Željko", family_name="Ivić"),
                emails=[contacts.Email(address="Zeljko@example.org", primary=True)],
            )
            # The same request id makes a repeated call have one effect.
            request = contacts.CreateContactRequest(parent=tenant, contact=person, request_id=str(uuid4()))
            kept = stub.CreateContact(request)
            assert stub.CreateContact(request) == kept
            print("kept:", kept.display_name, kept.etag)

            search = contacts.SearchContactsRequest(parent=tenant, name_prefix="žel ivi")
            assert list(stub.SearchContacts(search).contacts) == [kept]
            print("found by the beginnings of the name")

            changed = contacts.Contact(name=kept.name, about="met at the fair", etag=kept.etag)
            stub.UpdateContact(contacts.UpdateContactRequest(contact=changed))
            try:
                stub.UpdateContact(contacts.UpdateContactRequest(contact=changed))
            except grpc.RpcError as error:
                print("changed; the same form again is refused:", reason(error))

            trashed = stub.DeleteContact(contacts.DeleteContactRequest(name=kept.name))
            assert not stub.SearchContacts(search).contacts
            print("in the trash until", trashed.purge_time.ToJsonString())

            report = stub.ImportContacts(pieces(tenant, BOOK.encode()))
            for row in report.refused_rows:
                print(f"row {row.row} was refused: {row.reason}, {row.field}: {row.message}")
            print("imported:", report.created)


if __name__ == "__main__":
    main()
