"""Whatever is sent, in whichever field of whichever method: it is taken, or refused by name.

Every field of text and bytes is found by reflection, and each gets something of every family in ``naughty.py``.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from capsule_api.contacts.v1 import contacts_pb2 as contacts
from capsule_api.policy.v1 import policy_pb2
from capsule_core.export import csv as export_csv
from capsule_services.runtime.policy import rules
from tests.services.chassis import bytes_of
from tests.wire.naughty import FAMILIES, MARK, NO_TEXT, octets, one_of_each
from tests.wire.plausible import SERVICES, Place, carried, declared, places, written
from tests.wire.town import Town, asked, channel_for, town_in

METHODS = [(name, method.name) for name, service in SERVICES.items() for method in service.methods]
REFUSED_BY_NAME = re.compile(r"[A-Z][A-Z_]+")
REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
}
ALSO_AT_FAULT = {
    ("ImportContacts", "data"): "file",  # what the pieces make together
    ("ReportErasure", "name"): "receipt",  # it is not of what is reported
    ("ReportErasure", "subjects"): "receipt",
}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with town_in(tmp_path_factory.mktemp("deployment")) as made:
        yield made


def details(error: grpc.Call) -> tuple[error_details_pb2.ErrorInfo, error_details_pb2.BadRequest]:
    status = rpc_status.from_call(error)
    assert status is not None, error.details()
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
    return info, bad


def assert_refused_by_name(error: grpc.Call, sent: str) -> tuple[str, str]:
    """Return the reason and the field at fault."""
    assert error.code() in REFUSALS, f"{sent}: {error.code()}"
    info, bad = details(error)
    assert REFUSED_BY_NAME.fullmatch(info.reason), sent
    assert info.reason != "CAPSULE_ERROR", sent
    assert (error.code() is grpc.StatusCode.INVALID_ARGUMENT) == bool(bad.field_violations), f"{sent}: {info.reason}"
    return info.reason, bad.field_violations[0].field if bad.field_violations else ""


def assert_at_fault(field: str, name: str, place: Place, sent: str) -> None:
    """The field that is named is the one attacked, or what it is a part of."""
    tried = written(place)
    named = re.sub(r"\[[0-9]+\]", "", field)
    assert f"{tried}.".startswith(f"{named}.") or named == ALSO_AT_FAULT.get((name, tried)), f"{sent}: {field}"


def assert_no_traces(folder: Path) -> None:
    for path in folder.rglob("*.log"):
        assert b"Traceback" not in path.read_bytes(), path.name


def hostile(town: Town, place: Place, turn: int) -> Iterator[tuple[str, str | bytes]]:
    """Yield what to try in one place; where a name belongs, also one that is right up to its last part."""
    if place[-1].type == FieldDescriptor.TYPE_BYTES:
        yield from octets(turn)
        return
    real = town.ours.text(place)
    for family, text in one_of_each(turn):
        yield family, text
        if "/" in real:
            yield f"{family} in a name", f"{real.rpartition('/')[0]}/{text}"


def hurried(message: Any, place: Place) -> str:
    """Let a password of those that take their time be one that is refused, after all else; return where it stands."""
    if message.DESCRIPTOR.name != "SignUpRequest" or place[-1].name == "password":
        return ""
    message.super_administrator.password = "password"
    return "super_administrator.password"


@pytest.mark.parametrize(("service", "name"), METHODS)
def test_a_plausible_call_is_not_refused_for_what_it_says(town: Town, service: str, name: str) -> None:
    method = SERVICES[service].methods_by_name[name]
    messages = town.ours.call(method)
    error = asked(channel_for(town, service, method), method, [each.SerializeToString() for each in messages])
    assert error is None or error.code() in REFUSALS - {grpc.StatusCode.INVALID_ARGUMENT}


@pytest.mark.parametrize(("service", "name"), METHODS)
def test_something_hostile_in_any_field_is_taken_or_refused_by_the_name_of_the_field(
    town: Town, service: str, name: str
) -> None:
    method = SERVICES[service].methods_by_name[name]
    channel = channel_for(town, service, method)
    for turn, place in enumerate(places(method.input_type)):
        for number, (family, value) in enumerate(hostile(town, place, turn), turn):
            messages = town.ours.aimed(method, place, value)
            also = hurried(messages[0], place) if number % 4 else ""
            error = asked(channel, method, [each.SerializeToString() for each in messages])
            if error is not None:
                sent = f"{written(place)}: {family}"
                _, field = assert_refused_by_name(error, sent)
                if field and field != also:
                    assert_at_fault(field, name, place, sent)
    assert_no_traces(town.deployment.folder)


@pytest.mark.parametrize(("service", "name"), METHODS)
def test_bytes_that_are_no_text_and_bytes_that_are_no_message_are_refused_as_invalid(
    town: Town, service: str, name: str
) -> None:
    method = SERVICES[service].methods_by_name[name]
    channel = channel_for(town, service, method)
    texts = (place for place in places(method.input_type) if place[-1].type == FieldDescriptor.TYPE_STRING)
    for turn, place in enumerate(texts):
        messages = [each.SerializeToString() for each in town.ours.aimed(method, place, MARK)]
        for raw in (NO_TEXT[turn % len(NO_TEXT)], NO_TEXT[(turn + 1) % len(NO_TEXT)]):
            error = asked(channel, method, [each.replace(MARK.encode(), raw) for each in messages])
            assert error is not None, written(place)
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, written(place)
            assert_refused_by_name(error, written(place))
    error = asked(channel, method, [b"\xff\xff\xff\xff\x0f"])
    assert error is not None
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert_no_traces(town.deployment.folder)


def test_every_field_of_text_and_bytes_of_the_contract_is_tried(town: Town) -> None:
    tried, there = set(), set()
    for service, name in METHODS:
        method = SERVICES[service].methods_by_name[name]
        there |= {f"{service}.{name}.{path}" for path in fields_of(method.input_type)}
        for place in places(method.input_type):
            mark: str | bytes = MARK if place[-1].type == FieldDescriptor.TYPE_STRING else MARK.encode()
            sent = [type(each).FromString(each.SerializeToString()) for each in town.ours.aimed(method, place, mark)]
            tried |= {f"{service}.{name}.{path}" for each in sent for path in carried(each, mark)}
    assert tried == there
    assert len(there) > 180
    assert {"contacts.CreateContact.contact.organisation.display_name", "contacts.ImportContacts.data"} < there
    assert {"contacts.UpdateContact.update_mask.paths", "holder.Apply.correction"} < there


def fields_of(message: Descriptor) -> set[str]:
    """Find the paths of all fields of text and bytes in what protoc wrote, not in how Python reads it."""
    known: dict[str, descriptor_pb2.DescriptorProto] = {}
    waiting = [message.file]
    while waiting:
        file = waiting.pop()
        waiting += file.dependencies
        copied = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(copied)
        for each in copied.message_type:
            _learn(known, f".{copied.package}.{each.name}", each)
    return set(_paths(known, f".{message.full_name}", ()))


def _learn(
    known: dict[str, descriptor_pb2.DescriptorProto], name: str, message: descriptor_pb2.DescriptorProto
) -> None:
    known[name] = message
    for inner in message.nested_type:
        _learn(known, f"{name}.{inner.name}", inner)


def _paths(known: Mapping[str, descriptor_pb2.DescriptorProto], name: str, above: tuple[str, ...]) -> Iterator[str]:
    of = descriptor_pb2.FieldDescriptorProto
    for field in known[name].field:
        if field.type in {of.TYPE_STRING, of.TYPE_BYTES}:
            yield field.name
        elif field.type == of.TYPE_MESSAGE and field.type_name not in above:
            yield from (f"{field.name}.{path}" for path in _paths(known, field.type_name, (*above, name)))


def test_formulae_that_were_kept_leave_as_texts(town: Town) -> None:
    """Whatever a spreadsheet takes for the end of a cell: a comma, a semicolon or a tab."""
    formulae = [text for text in FAMILIES["formulae"] if text.isprintable()]
    contact = contacts.Contact(person=contacts.Person(given_name="Formula"), tags=formulae, about="\n".join(formulae))
    contact.custom_fields.extend(contacts.CustomField(key=text, value=text) for text in formulae)
    made = town.other.contacts.CreateContact(contacts.CreateContactRequest(parent=town.other.tenant, contact=contact))
    request = contacts.ExportContactsRequest(parent=town.other.tenant, format=contacts.ExportContactsRequest.CSV)
    table = b"".join(piece.data for piece in town.other.contacts.ExportContacts(request)).decode("utf-8-sig")
    for parting in ",;\t":
        cells = [cell for row in csv.reader(io.StringIO(table, newline=""), delimiter=parting) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    kept = next(row.contact for row in export_csv.read([table.encode()]) if row.contact.about == made.about)
    assert kept.tags == tuple(formulae)
    assert [field.value for field in kept.custom] == formulae


def test_no_two_hostile_texts_are_the_same_and_every_one_has_its_turn() -> None:
    texts = [text for family in FAMILIES.values() for text in family]
    turns = range(max(map(len, FAMILIES.values())))
    assert len(set(texts)) == len(texts)
    assert {text for turn in turns for _, text in one_of_each(turn)} == set(texts)
    assert {value for turn in range(len(NO_TEXT)) for _, value in octets(turn)} > set(NO_TEXT)


@pytest.mark.parametrize(("service", "name"), METHODS)
def test_numbers_and_times_out_of_any_range_are_taken_or_refused_by_name(town: Town, service: str, name: str) -> None:
    method = SERVICES[service].methods_by_name[name]
    channel = channel_for(town, service, method)
    for value in (-(1 << 31), (1 << 31) - 1, 1 << 62, -(1 << 62)):
        messages = town.ours.call(method)
        for each in messages:
            _stretch(each, value)
        error = asked(channel, method, [each.SerializeToString() for each in messages])
        if error is not None:
            assert_refused_by_name(error, f"{value}")
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


IN_A_TENANT = {"CreateContact", "ListContacts", "SearchContacts", "ImportContacts", "ExportContacts"} | {
    "PlaceHold",
    "ListHolds",
    "GetRetentionPolicy",
    "SetRetentionPolicy",
    "PreviewRetention",
    "SimulateRetention",
    "TrashContacts",
    "CreateContactList",
    "ListContactLists",
}
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
    real = town.ours.filled(method.input_type)
    ours = _at(real, subject)
    theirs = _in_the_other(town, ours)
    unknown = re.sub(r"[^/]+$", "cunknown0", theirs) if theirs.count("/") > 1 else "tenants/tunknown"
    nowhere = theirs.replace(town.other.tenant, "tenants/tunknown")
    answers = set()
    for wanted in (theirs, unknown, nowhere):
        message = town.ours.filled(method.input_type)
        _only(message, subject, wanted)
        error = asked(channel_for(town, service, method), method, [message.SerializeToString()])
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
    ours = _at(town.ours.filled(method.input_type), subject)
    theirs = _in_the_other(town, ours).replace(town.other.tenant, town.chief.tenant)
    unknown = theirs.replace(town.their_contact.rpartition("/")[2], "cunknown0")
    answers = set()
    for wanted in (theirs, unknown):
        message = town.ours.filled(method.input_type)
        _only(message, subject, wanted)
        error = asked(town.channels["contacts"], method, [message.SerializeToString()])
        assert error is not None
        assert error.code() is grpc.StatusCode.NOT_FOUND
        answers.add(bytes_of(error))
    assert len(answers) == 1


def _in_the_other(town: Town, ours: str) -> str:
    for mine, theirs in (
        (town.ours.entry, town.their_entry),
        (town.ours.contact, town.their_contact),
        (town.ours.user, town.other.user),
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
