"""Whatever is sent, in whichever field of whichever method: it is taken, or refused by name."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import grpc
import pytest
from google.api import field_behavior_pb2, field_info_pb2, resource_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from capsule_api.contacts.v1 import contacts_pb2 as contacts
from capsule_api.holder.v1 import holder_pb2
from capsule_api.identity.v1 import identity_pb2
from capsule_api.policy.v1 import policy_pb2
from capsule_api.privacy.v1 import privacy_pb2
from capsule_services.demo.company import PASSWORD, Desk, request_id, sign_in, sign_up
from capsule_services.runtime.certificates import prepared
from capsule_services.runtime.channels import open_channel
from capsule_services.runtime.clock import wall_time
from capsule_services.runtime.deployment import ORDER, Deployment, Options, running
from capsule_services.runtime.policy import rules
from tests.services.chassis import bytes_of

SERVICES = {
    "contacts": contacts.DESCRIPTOR.services_by_name["ContactsService"],
    "identity": identity_pb2.DESCRIPTOR.services_by_name["IdentityService"],
    "privacy": privacy_pb2.DESCRIPTOR.services_by_name["PrivacyService"],
    "holder": holder_pb2.DESCRIPTOR.services_by_name["HolderService"],
}
METHODS = [(name, method.name) for name, service in SERVICES.items() for method in service.methods]
MARK = "Q" * 8
NOT_UTF8 = b"\xc3\x28\xff\xfe\xed\xa0\x80Q"
HOSTILE = (
    "\0",
    "a\0b",
    "\u202egpj.exe\u2066\u200f",
    "x" * (1 << 20),
    "'; DROP TABLE records; --",
    '=HYPERLINK("http://example.org","x")',
    "../../../../etc/passwd",
    "tenants/../../contacts/x",
    "%s%n{0}{self.__class__}${jndi:ldap://example.org}",
    "\U0010ffff\ufeff\u0085\u2028",
    "\x1b]0;x\x07",
    "9" * 400,
)
REFUSED_BY_NAME = re.compile(r"[A-Z][A-Z_]+")


@attrs.frozen
class Town:
    """A deployment with two companies in it, and the connections to attack it over."""

    deployment: Deployment
    chief: Desk
    other: Desk
    channels: Mapping[str, grpc.Channel]
    contact: str
    entry: str
    their_contact: str
    their_entry: str
    spare: str

    def channel(self, service: str) -> grpc.Channel:
        return self.channels[service]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("deployment")
    with running(folder, Options()) as deployment, contextlib.ExitStack() as stack:
        chiefs = []
        for letter in "ab":
            tenant, _ = sign_up(deployment, f"Company {letter}", "Ada Quill", f"{letter}@example.org")
            chiefs.append(sign_in(deployment, tenant, f"{letter}@example.org"))
        stub = identity_pb2.SignInRequest(tenant=chiefs[0].tenant, email="a@example.org", password=PASSWORD)
        token, leaving = chiefs[0].identity.SignIn(stub).token, chiefs[0].identity.SignIn(stub).token
        credentials = prepared(folder / "tls", ORDER, now=wall_time())
        channels = {
            name: stack.enter_context(
                open_channel(address, service=name, credential=deployment.credential, token=token)
            )
            for name, address in deployment.addresses.items()
        }
        channels["holder"] = stack.enter_context(
            open_channel(deployment.addresses["contacts"], service="contacts", credential=credentials["privacy"])
        )
        channels["leaving"] = stack.enter_context(
            open_channel(
                deployment.addresses["identity"], service="identity", credential=deployment.credential, token=leaving
            )
        )
        channels["reports"] = stack.enter_context(
            open_channel(deployment.addresses["privacy"], service="privacy", credential=credentials["contacts"])
        )
        (ours, our_entry), (theirs, their_entry), (spare, _) = map(_furnished, (*chiefs, chiefs[0]))
        yield Town(deployment, *chiefs, channels, ours, our_entry, theirs, their_entry, spare)


def _furnished(desk: Desk) -> tuple[str, str]:
    contact = contacts.Contact(person=contacts.Person(given_name="Zephyra"), tags=["t"])
    request = contacts.CreateContactRequest(parent=desk.tenant, contact=contact, request_id=request_id())
    name = desk.contacts.CreateContact(request).name
    entry = contacts.Entry(kind=contacts.Entry.NOTE, body="Rang.")
    made = desk.contacts.CreateEntry(contacts.CreateEntryRequest(parent=name, entry=entry, request_id=request_id()))
    return name, made.name


def declared(method: MethodDescriptor) -> policy_pb2.Policy:
    policy: policy_pb2.Policy = method.GetOptions().Extensions[policy_pb2.policy]
    return policy


def channel_for(town: Town, service: str, method: MethodDescriptor) -> grpc.Channel:
    if service == "privacy" and declared(method).callers == policy_pb2.SERVICES:
        return town.channel("reports")
    if method.name == "SignOut":
        return town.channel("leaving")  # the session of the others must go on
    return town.channel(service)


def named_in(town: Town, field: FieldDescriptor, *, tenant: str = "") -> str:
    """Name something real for a field that wants a name."""
    owner = tenant or town.chief.tenant
    options: Any = field.GetOptions().Extensions
    reference = options[resource_pb2.resource_reference]
    wanted = (reference.type or reference.child_type).rpartition("/")[2]
    child = not reference.type
    identifiers = {
        "Tenant": owner,
        "Contact": owner if child else town.contact,
        "Entry": town.contact if child else town.entry,
        "Photo": f"{town.contact}/photo",
        "User": owner if child else town.chief.user,
        "Invitation": owner,
        "Erasure": owner if child else f"{owner}/erasures/e1",
        "Receipt": f"{owner}/erasures/e1/receipt",
        "*": f"{owner}/subjects/{town.spare.rpartition('/')[2]}",
    }
    if not wanted:
        return {"Contact": town.contact, "Entry": town.entry, "User": town.chief.user}.get(
            field.containing_type.name, owner
        )
    return identifiers[wanted]


def filled(town: Town, descriptor: Descriptor, above: tuple[str, ...] = ()) -> Any:
    """Make a message with something plausible in every field."""
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if descriptor.full_name in above or (field.containing_oneof and _is_set(message, field)):
            continue
        value = _value(town, field, (*above, descriptor.full_name))
        if value is None:
            continue
        if field.is_repeated:
            getattr(message, field.name).extend([value])
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(value)
        else:
            setattr(message, field.name, value)
    return message


def _is_set(message: Message, field: FieldDescriptor) -> bool:
    oneof = field.containing_oneof
    return oneof is not None and message.WhichOneof(oneof.name) is not None


def _value(town: Town, field: FieldDescriptor, above: tuple[str, ...]) -> Any:
    if field.message_type is not None:
        if field.message_type.full_name.startswith("google."):
            return None
        return filled(town, field.message_type, above)
    if field.type == FieldDescriptor.TYPE_STRING:
        return _text(town, field)
    if field.type == FieldDescriptor.TYPE_ENUM:
        assert field.enum_type is not None
        return field.enum_type.values[1].number
    return None


def _text(town: Town, field: FieldDescriptor) -> str:
    options: Any = field.GetOptions().Extensions
    reference = options[resource_pb2.resource_reference]
    identifier = field_behavior_pb2.IDENTIFIER in options[field_behavior_pb2.field_behavior]
    if reference.type or reference.child_type or identifier:
        return named_in(town, field)
    if options[field_info_pb2.field_info].format == field_info_pb2.FieldInfo.UUID4:
        return request_id()
    plausible = {"email": "x@example.org", "address": "x@example.org", "password": PASSWORD, "birthday": "2000-01-01"}
    plausible |= {"etag": "", "page_token": "", "language_code": "en"}
    return plausible.get(field.name, "Plausible 123")


def places(message: Any) -> list[tuple[str, Callable[[Any, str], None]]]:
    """Find every text of a message, at any depth: the path, and what puts another one there."""
    found: list[tuple[str, Callable[[Any, str], None]]] = []
    for field in message.DESCRIPTOR.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            found.append((field.name, _putting(field)))
        elif field.message_type is not None and _carries(message, field):
            inner = getattr(message, field.name)
            below = places(inner[0] if field.is_repeated else inner)
            found.extend((f"{field.name}.{path}", _through(field, put)) for path, put in below)
    return found


def _carries(message: Any, field: FieldDescriptor) -> bool:
    return len(getattr(message, field.name)) > 0 if field.is_repeated else message.HasField(field.name)


def _putting(field: FieldDescriptor) -> Callable[[Any, str], None]:
    def put(message: Any, text: str) -> None:
        if field.is_repeated:
            del getattr(message, field.name)[:]
            getattr(message, field.name).append(text)
        else:
            setattr(message, field.name, text)

    return put


def _through(field: FieldDescriptor, put: Callable[[Any, str], None]) -> Callable[[Any, str], None]:
    def through(message: Any, text: str) -> None:
        inner = getattr(message, field.name)
        put(inner[0] if field.is_repeated else inner, text)

    return through


def asked(channel: grpc.Channel, method: MethodDescriptor, data: bytes) -> grpc.Call | None:
    """Send raw bytes to a method; return the error, or None if it was answered."""
    kind = ("stream" if method.client_streaming else "unary", "stream" if method.server_streaming else "unary")
    name = f"/{method.containing_service.full_name}/{method.name}"
    call = getattr(channel, "_".join(kind))(name, request_serializer=lambda raw: raw)
    try:
        answer = call(iter([data]) if method.client_streaming else data)
        if method.server_streaming:
            for _ in answer:
                pass
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        return error
    return None


def details(error: grpc.Call) -> tuple[error_details_pb2.ErrorInfo, error_details_pb2.BadRequest]:
    status = rpc_status.from_call(error)
    assert status is not None, error.details()
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
    return info, bad


def assert_named(error: grpc.Call, sent: str) -> None:
    assert error.code() not in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}, sent
    info, bad = details(error)
    assert REFUSED_BY_NAME.fullmatch(info.reason), sent
    assert info.reason != "CAPSULE_ERROR", sent
    if info.reason == "INVALID_FIELD":
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert bad.field_violations[0].field, sent


def assert_no_traces(folder: Path) -> None:
    for path in folder.rglob("*.log"):
        assert b"Traceback" not in path.read_bytes(), path.name


@pytest.mark.parametrize(("service", "name"), METHODS)
def test_a_hostile_text_in_any_field_is_taken_or_refused_by_name(town: Town, service: str, name: str) -> None:
    method = SERVICES[service].methods_by_name[name]
    channel, base = channel_for(town, service, method), filled(town, method.input_type)
    wanted = HOSTILE if name not in {"SignUp", "SignIn"} else HOSTILE[:4]  # a password takes its time
    for path, put in places(base):
        for text in wanted:
            message = filled(town, method.input_type)
            put(message, text)
            error = asked(channel, method, message.SerializeToString())
            if error is not None:
                assert_named(error, f"{path}: {text[:20]!r}")
    assert_no_traces(town.deployment.folder)


@pytest.mark.parametrize(("service", "name"), METHODS)
def test_bytes_that_are_no_text_and_bytes_that_are_no_message_are_refused_as_invalid(
    town: Town, service: str, name: str
) -> None:
    method = SERVICES[service].methods_by_name[name]
    channel, base = channel_for(town, service, method), filled(town, method.input_type)
    for path, put in places(base):
        message = filled(town, method.input_type)
        put(message, MARK)
        raw = message.SerializeToString().replace(MARK.encode(), NOT_UTF8)
        error = asked(channel, method, raw)
        assert error is not None, path
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, path
        assert_named(error, path)
    error = asked(channel, method, b"\xff\xff\xff\xff\x0f")
    assert error is not None
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert_no_traces(town.deployment.folder)


@pytest.mark.parametrize(("service", "name"), METHODS)
def test_numbers_and_times_out_of_any_range_are_taken_or_refused_by_name(town: Town, service: str, name: str) -> None:
    method = SERVICES[service].methods_by_name[name]
    channel = channel_for(town, service, method)
    for value in (-(1 << 31), (1 << 31) - 1, 1 << 62, -(1 << 62)):
        message = filled(town, method.input_type)
        _stretch(message, value)
        error = asked(channel, method, message.SerializeToString())
        if error is not None:
            assert_named(error, f"{value}")
    assert_no_traces(town.deployment.folder)


def _stretch(message: Any, value: int) -> None:
    for field in message.DESCRIPTOR.fields:
        if field.is_repeated:
            continue
        if field.type == FieldDescriptor.TYPE_INT32:
            setattr(message, field.name, max(min(value, (1 << 31) - 1), -(1 << 31)))
        elif field.type in {FieldDescriptor.TYPE_ENUM, FieldDescriptor.TYPE_INT64}:
            setattr(message, field.name, abs(value) % (1 << 31) if field.enum_type else value)
        elif field.message_type is not None and field.message_type.name == "Timestamp":
            getattr(message, field.name).seconds = value
            getattr(message, field.name).nanos = -1
        elif field.message_type is not None and message.HasField(field.name):
            _stretch(getattr(message, field.name), value)


IN_A_TENANT = {"CreateContact", "ListContacts", "SearchContacts", "ImportContacts", "ExportContacts"}
NAMING = [
    (service, method)
    for service, method in METHODS
    if declared(SERVICES[service].methods_by_name[method]).callers == policy_pb2.USERS and method != "SignOut"
]


@pytest.mark.law("L1")
@pytest.mark.parametrize(("service", "name"), NAMING)
def test_a_foreign_name_and_an_unknown_one_are_answered_byte_for_byte_alike(
    town: Town, service: str, name: str
) -> None:
    method = SERVICES[service].methods_by_name[name]
    subject = rules([SERVICES[service]])[f"/{SERVICES[service].full_name}/{name}"].subject
    real = filled(town, method.input_type)
    ours = _at(real, subject)
    theirs = _in_the_other(town, ours)
    unknown = re.sub(r"[^/]+$", "cunknown0", theirs) if theirs.count("/") > 1 else "tenants/tunknown"
    nowhere = theirs.replace(town.other.tenant, "tenants/tunknown")
    answers = set()
    for wanted in (theirs, unknown, nowhere):
        message = filled(town, method.input_type)
        _only(message, subject, wanted)
        error = asked(channel_for(town, service, method), method, message.SerializeToString())
        assert error is not None, f"{name} answered a foreign name"
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        answers.add(bytes_of(error))
    assert len(answers) == 1


@pytest.mark.law("L1")
@pytest.mark.parametrize(
    "name",
    sorted({name for service, name in NAMING if service == "contacts"} - IN_A_TENANT),
)
def test_the_id_of_another_company_under_our_own_name_is_as_unknown_as_any(town: Town, name: str) -> None:
    method = SERVICES["contacts"].methods_by_name[name]
    subject = rules([SERVICES["contacts"]])[f"/{SERVICES['contacts'].full_name}/{name}"].subject
    ours = _at(filled(town, method.input_type), subject)
    theirs = _in_the_other(town, ours).replace(town.other.tenant, town.chief.tenant)
    unknown = theirs.replace(town.their_contact.rpartition("/")[2], "cunknown0")
    answers = set()
    for wanted in (theirs, unknown):
        message = filled(town, method.input_type)
        _only(message, subject, wanted)
        error = asked(town.channel("contacts"), method, message.SerializeToString())
        assert error is not None
        assert error.code() is grpc.StatusCode.NOT_FOUND
        answers.add(bytes_of(error))
    assert len(answers) == 1


def _in_the_other(town: Town, ours: str) -> str:
    for mine, theirs in (
        (town.entry, town.their_entry),
        (town.contact, town.their_contact),
        (town.chief.user, town.other.user),
        (town.chief.tenant, town.other.tenant),
    ):
        ours = ours.replace(mine, theirs)
    return ours


def _at(message: Any, path: str) -> str:
    for name in path.split("."):
        message = getattr(message, name)
    return str(message)


def _only(message: Any, path: str, text: str) -> None:
    *above, last = path.split(".")
    for name in above:
        message = getattr(message, name)
    setattr(message, last, text)
