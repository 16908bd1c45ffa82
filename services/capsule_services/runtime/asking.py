"""Asking running services as a user does: with an e-mail address, a password, and that user's permissions."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

import attrs
import grpc
from google.protobuf.json_format import MessageToDict

from capsule_api.contacts.v1 import contacts_pb2, contacts_pb2_grpc
from capsule_api.identity.v1 import identity_pb2, identity_pb2_grpc
from capsule_core.errors import Unavailable
from capsule_core.policies import document
from capsule_core.retention import Policy
from capsule_services.runtime.certificates import CLIENT, credential_of
from capsule_services.runtime.channels import address_of, open_channel
from capsule_services.runtime.faults import StartRefused

__all__ = ["Asker", "asking"]

_PATIENCE: Final = 600.0
"""Seconds after which even a look at all of an address book has failed."""

T = TypeVar("T")


@attrs.frozen
class Asker:
    """A user of *tenant* at the contacts service; answers are dictionaries, fields as the contract calls them."""

    tenant: str
    _contacts: contacts_pb2_grpc.ContactsServiceStub

    def preview(self, weeks: int) -> list[dict[str, Any]]:
        """Ask what goes in the next weeks."""
        request = contacts_pb2.PreviewRetentionRequest(parent=self._name, weeks=weeks)
        return _listed(lambda: self._contacts.PreviewRetention(request, timeout=_PATIENCE), "forecasts")

    def policy(self) -> dict[str, Any]:
        """Ask for the policy."""
        request = contacts_pb2.GetRetentionPolicyRequest(name=f"{self._name}/retentionPolicy")
        return _plain(lambda: self._contacts.GetRetentionPolicy(request))

    def simulate(self, policy: Policy, weeks: int) -> list[dict[str, Any]]:
        """Ask what another policy would change; a refusal names the place as ``policies`` does."""
        request = contacts_pb2.SimulateRetentionRequest(policy=self._written(policy), weeks=weeks)
        with _in_document():
            return _listed(lambda: self._contacts.SimulateRetention(request, timeout=_PATIENCE), "changes")

    def set_policy(self, policy: Policy) -> dict[str, Any]:
        """Have a policy take the place of the one before; refusals as of :meth:`simulate`."""
        request = contacts_pb2.SetRetentionPolicyRequest(policy=self._written(policy), request_id=str(uuid4()))
        with _in_document():
            return _plain(lambda: self._contacts.SetRetentionPolicy(request))

    def explain(self, contact: str) -> dict[str, Any]:
        """Ask why a contact is still here; it is named in full or by its id."""
        name = contact if "/" in contact else f"{self._name}/contacts/{contact}"
        return _plain(lambda: self._contacts.ExplainContact(contacts_pb2.ExplainContactRequest(name=name)))

    def save_list(self, name: str, since: Mapping[str, datetime]) -> dict[str, Any]:
        """Save a list of those to whom nothing has happened *since*: ``updated``, ``opened``, ``contacted``."""
        wanted = contacts_pb2.ContactList(display_name=name)
        for event, at in since.items():
            getattr(wanted.stale, f"not_{event}_since").FromDatetime(at)
        request = contacts_pb2.CreateContactListRequest(parent=self._name, contact_list=wanted, request_id=str(uuid4()))
        return _plain(lambda: self._contacts.CreateContactList(request, timeout=_PATIENCE))

    def fill_list(self, name: str) -> dict[str, Any]:
        """Put the next on a list."""
        request = contacts_pb2.FillContactListRequest(name=self._list(name), request_id=str(uuid4()))
        return _plain(lambda: self._contacts.FillContactList(request, timeout=_PATIENCE))

    def lists(self) -> list[dict[str, Any]]:
        """Ask for the saved lists."""
        request = contacts_pb2.ListContactListsRequest(parent=self._name, page_size=1000)
        return _listed(lambda: self._contacts.ListContactLists(request), "contact_lists")

    def saved_list(self, name: str) -> dict[str, Any]:
        """Ask for one saved list."""
        return _plain(lambda: self._contacts.GetContactList(contacts_pb2.GetContactListRequest(name=self._list(name))))

    def listed(self, name: str) -> Iterator[list[dict[str, Any]]]:
        """Ask who is on a list, page by page."""
        request = contacts_pb2.ListListedContactsRequest(parent=self._list(name), page_size=500)
        while True:
            page = _plain(lambda: self._contacts.ListListedContacts(request, timeout=_PATIENCE))
            yield page.get("listed_contacts", [])
            request.page_token = page.get("next_page_token", "")
            if not request.page_token:
                return

    def trash_list(self, name: str, batch: str) -> dict[str, Any]:
        """Have the next on a list thrown away, together with those of a *batch*."""
        request = contacts_pb2.TrashListedContactsRequest(name=self._list(name), batch=batch, request_id=str(uuid4()))
        return _plain(lambda: self._contacts.TrashListedContacts(request, timeout=_PATIENCE))

    def take_back(self, batch: str) -> dict[str, Any]:
        """Have a batch taken back."""
        request = contacts_pb2.UndeleteBatchRequest(parent=self._name, batch=batch, request_id=str(uuid4()))
        return _plain(lambda: self._contacts.UndeleteBatch(request, timeout=_PATIENCE))

    def delete_list(self, name: str) -> dict[str, Any]:
        """Have a list thrown away."""
        request = contacts_pb2.DeleteContactListRequest(name=self._list(name), request_id=str(uuid4()))
        return _plain(lambda: self._contacts.DeleteContactList(request))

    def export_list(self, name: str, form: str) -> Iterator[bytes]:
        """Ask for who is on a list as a file of a *form*: JSON, CSV, VCARD."""
        export = contacts_pb2.ExportContactsRequest
        request = export(parent=self._name, format=export.Format.Value(form), contact_list=self._list(name))
        pieces = self._contacts.ExportContacts(request, timeout=_PATIENCE)
        while (piece := _answered(lambda: next(pieces, None))) is not None:
            yield piece.data

    @property
    def _name(self) -> str:
        return f"tenants/{self.tenant}"

    def _written(self, policy: Policy) -> contacts_pb2.RetentionPolicy:
        plain = json.loads(document(policy))
        rules = [_rule(each) for each in plain["rules"]]
        return contacts_pb2.RetentionPolicy(name=f"{self._name}/retentionPolicy", rules=rules, time_zone=plain["zone"])

    def _list(self, name: str) -> str:
        return name if "/" in name else f"{self._name}/contactLists/{name}"


@contextmanager
def asking(folder: Path, tenant: str, email: str, password: str) -> Generator[Asker]:
    """Sign in to the deployment in *folder*, and out again at the end.

    Raises:
        StartRefused: there is none, or the service refused, in its own words.
    """
    if not (folder / "tls").is_dir():
        raise StartRefused(f"{folder} is not the folder of a deployment; say --data DIR as for capsule up")
    credential = credential_of(folder / "tls", CLIENT)
    entrance = _address(folder, "identity")
    with closing(open_channel(entrance, service="identity", credential=credential)) as channel:
        request = identity_pb2.SignInRequest(tenant=f"tenants/{tenant}", email=email, password=password)
        token = _signed_in(lambda: identity_pb2_grpc.IdentityServiceStub(channel).SignIn(request), folder)
    address = _address(folder, "contacts")
    with (
        closing(open_channel(address, service="contacts", credential=credential, token=token)) as channel,
        closing(open_channel(entrance, service="identity", credential=credential, token=token)) as leaving,
    ):
        yield Asker(tenant, contacts_pb2_grpc.ContactsServiceStub(channel))
        _answered(lambda: identity_pb2_grpc.IdentityServiceStub(leaving).SignOut(identity_pb2.SignOutRequest()))


def _address(folder: Path, service: str) -> str:
    try:
        return address_of(folder / "addresses", service)
    except Unavailable:
        raise _silent(folder, service) from None


def _silent(folder: Path, service: str) -> StartRefused:
    return StartRefused(f"{service} does not answer; start it: capsule up --data {folder}")


def _signed_in(ask: Callable[[], identity_pb2.SignInResponse], folder: Path) -> str:
    try:
        return ask().token
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAUTHENTICATED:
            raise StartRefused("the tenant, the e-mail address or the password is wrong") from None
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            raise _silent(folder, "identity") from None
        raise StartRefused(str(error.details())) from None


def _plain(ask: Callable[[], Any]) -> dict[str, Any]:
    return MessageToDict(_answered(ask), preserving_proto_field_name=True)


def _listed(ask: Callable[[], Any], field: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _plain(ask).get(field, [])
    return found


def _answered(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except grpc.RpcError as error:
        raise StartRefused(str(error.details())) from None


def _rule(plain: dict[str, Any]) -> contacts_pb2.RetentionRule:
    named: dict[str, Any] = {key: plain[key].upper() for key in ("effect", "since") if key in plain}
    return contacts_pb2.RetentionRule(**{**plain, **named})


@contextmanager
def _in_document() -> Generator[None]:
    """Let a path begin where the document does."""
    try:
        yield
    except StartRefused as error:
        raise StartRefused(str(error).removeprefix("policy.")) from None
