"""Requests as somebody might make them, for every method of the contract, and a way to put anything in any place.

Services, methods and fields are found by reflection, so that what is added to the contract is tried from then on.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
from google.api import field_behavior_pb2, field_info_pb2, resource_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

import capsule_api
from capsule_api.contacts.v1.contacts_pb2 import ContactList
from capsule_api.identity.v1 import identity_pb2
from capsule_api.policy.v1 import policy_pb2
from capsule_core.contacts.party import PURPOSE
from capsule_services.demo.company import PASSWORD, request_id

__all__ = ["SERVICES", "Place", "Plausible", "carried", "declared", "parts", "places", "written"]

TEXTS: Final = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)
NOON: Final = 1_800_000_000
LONG_AGO: Final = 1_600_000_000
ADDRESS_BOOK: Final = b"First Name,Last Name,Organization Name,Labels\r\nBo,Vane,,\r\n"

Place = tuple[FieldDescriptor, ...]
"""The fields that lead to one of text or bytes, the outermost first."""


def _services() -> Iterator[tuple[str, ServiceDescriptor]]:
    for module in pkgutil.walk_packages(capsule_api.__path__, "capsule_api."):
        if module.name.endswith("_pb2"):
            for service in importlib.import_module(module.name).DESCRIPTOR.services_by_name.values():
                yield module.name.split(".")[1], service


SERVICES: Final[Mapping[str, ServiceDescriptor]] = dict(_services())
"""Every service of the contract, by the folder it is in."""


def declared(method: MethodDescriptor) -> policy_pb2.Policy:
    policy: policy_pb2.Policy = method.GetOptions().Extensions[policy_pb2.policy]
    return policy


def places(message: Descriptor, above: tuple[Descriptor, ...] = ()) -> Iterator[Place]:
    """Find every field of text or bytes that a message can carry, at any depth."""
    for field in message.fields:
        if field.type in TEXTS:
            yield (field,)
        elif field.message_type is not None and field.message_type not in above:
            for rest in places(field.message_type, (*above, message)):
                yield (field, *rest)


def written(place: Place) -> str:
    return ".".join(field.name for field in place)


def parts(method: MethodDescriptor, place: Place = ()) -> Sequence[FieldDescriptor]:
    """Name the field that each message of a call has to carry: a stream of them is one of each kind."""
    return method.input_type.oneofs[0].fields if method.client_streaming else place[:1]


def carried(message: Message, value: str | bytes, above: str = "") -> Iterator[str]:
    """Find the paths of the fields in which a message carries *value*."""
    for field, held in message.ListFields():
        for each in held if field.is_repeated else (held,):
            if field.message_type is not None:
                yield from carried(each, value, f"{above}{field.name}.")
            elif each == value:
                yield above + field.name


@attrs.frozen(kw_only=True)
class Plausible:
    """What there is to be named by requests, and how requests are made of it.

    *subject* is somebody; *receipt* proves that the *gone* were erased; *documents* are to be accepted by whoever signs
    up; *invited* gives what accepts a new invitation.
    """

    tenant: str
    user: str
    contact: str
    entry: str
    subject: str
    erasure: str
    gone: str
    receipt: bytes
    documents: Sequence[identity_pb2.Document] = ()
    invited: Callable[[], str] = lambda: "t.i.secret"

    def filled(self, descriptor: Descriptor, toward: Place = ()) -> Any:
        """Make a message with something plausible in every field; where one of several may be, that *toward* a place.

        The deep end of a recursion, times and masks are left out unless they are on the way.
        """
        return self._filled(descriptor, toward, ())

    def aimed(self, method: MethodDescriptor, place: Place, value: str | bytes) -> list[Any]:
        """Make the messages of a call that is plausible but for the *value* in one place."""
        message = self.filled(method.input_type, place)
        _put(message, place, value)
        others = parts(method, place)
        return [message if place[0] == part else self.filled(method.input_type, (part,)) for part in others]

    def call(self, method: MethodDescriptor) -> list[Any]:
        """Make the messages of a call that is plausible."""
        several = [self.filled(method.input_type, (part,)) for part in parts(method)]
        return several or [self.filled(method.input_type)]

    def text(self, place: Place) -> str:
        """Return the text that is plausible in a place."""
        message = self.filled(place[0].containing_type, place)
        for field in place:
            message = getattr(message, field.name)
            message = message[0] if field.is_repeated and message else message
        return str(message)

    def _filled(self, descriptor: Descriptor, toward: Place, above: tuple[str, ...]) -> Any:
        message = GetMessageClass(descriptor)()
        for field in descriptor.fields:
            ahead = toward[1:] if toward and toward[0] == field else ()
            if not _is_chosen(message, field, toward):
                continue
            value = self._value(field, ahead, (*above, descriptor.full_name))
            if value is None:
                continue
            if field.is_repeated:
                getattr(message, field.name).extend(value if isinstance(value, list) else [value])
            elif field.message_type is not None:
                getattr(message, field.name).CopyFrom(value)
            else:
                setattr(message, field.name, value)
        return message

    def _value(self, field: FieldDescriptor, ahead: Place, above: tuple[str, ...]) -> Any:
        if field.name == "acceptances":
            return [identity_pb2.Acceptance(kind=each.kind, version=each.version) for each in self.documents]
        if field.message_type is not None:
            return self._message(field, ahead, above)
        if field.type in TEXTS:
            return self._text(field) if field.type == FieldDescriptor.TYPE_STRING else self._octets(field)
        if field.enum_type is not None:
            return field.enum_type.values[1].number
        return 1 if _is_required(field) and field.type == FieldDescriptor.TYPE_INT64 else None

    def _message(self, field: FieldDescriptor, ahead: Place, above: tuple[str, ...]) -> Any:
        name = field.message_type.full_name
        if name == Timestamp.DESCRIPTOR.full_name and not ahead:
            if ContactList.DESCRIPTOR.full_name in above:  # which says since when nothing has happened
                return Timestamp(seconds=LONG_AGO)
            return Timestamp(seconds=NOON) if _is_required(field) else None
        if (name.startswith("google.") or name in above) and not ahead:
            return None
        return self._filled(field.message_type, ahead, above)

    def _octets(self, field: FieldDescriptor) -> bytes:
        return {"receipt": self.receipt, "data": ADDRESS_BOOK}.get(field.name, b"plausible")

    def _text(self, field: FieldDescriptor) -> str:
        options: Any = field.GetOptions().Extensions
        reference = options[resource_pb2.resource_reference]
        identifier = field_behavior_pb2.IDENTIFIER in options[field_behavior_pb2.field_behavior]
        if reference.type or reference.child_type or identifier:
            return self._name(field)
        if options[field_info_pb2.field_info].format == field_info_pb2.FieldInfo.UUID4:
            return request_id()
        place = f"{field.containing_type.name}.{field.name}"
        if place == "AcceptInvitationRequest.token":
            return self.invited()
        return _PLACES.get(place, _TEXTS.get(field.name, "Plausible 123"))

    def _name(self, field: FieldDescriptor) -> str:
        """Name something real for a field that wants a name."""
        options: Any = field.GetOptions().Extensions
        reference = options[resource_pb2.resource_reference]
        wanted = (reference.type or reference.child_type).rpartition("/")[2] or field.containing_type.name
        child = bool(reference.child_type)
        if field.containing_type.name in {"CloseRequest", "ReopenRequest"}:
            return "tenants/doomed"  # whoever hears of it lets nobody else in
        names = {
            "Contact": self.tenant if child else self.contact,
            "Entry": self.contact if child else self.entry,
            "Photo": f"{self.contact}/photo",
            "Hold": self.tenant if child else f"{self.tenant}/holds/h{'0' * 26}",
            "ContactList": self.tenant if child else f"{self.tenant}/contactLists/l{'0' * 26}",
            "RetentionPolicy": self.tenant if child else f"{self.tenant}/retentionPolicy",
            "Log": f"{self.tenant}/logs/changes",
            "User": self.tenant if child else self.user,
            "Erasure": self.tenant if child else self.erasure,
            "Receipt": f"{self.erasure}/receipt",
            "*": {"ReportErasureRequest": self.gone, "Hold": self.contact}.get(
                field.containing_type.name, self.subject
            ),
        }
        return names.get(wanted, self.tenant)


_PLACES: Final[Mapping[str, str]] = {
    "Hold.field": "about",
    "Identifier.value": "x@example.org",
    "RetentionRule.id": "leads",
    "RetentionRule.period": "P3Y",
    "RetentionRule.kinds": "person",
    "RetentionRule.field": "about",
    "RetentionRule.purpose": PURPOSE,
    "UndeleteBatchRequest.batch": f"b{'0' * 26}",
}

_TEXTS: Final[Mapping[str, str]] = {
    "email": "x@example.org",
    "emails": "x@example.org",
    "address": "x@example.org",
    "password": PASSWORD,
    "birthday": "2000-01-01",
    "etag": "",
    "page_token": "",
    "after": "",
    "batch": "",
    "time_zone": "Europe/Berlin",
    "last_four": "4242",
    "brand": "Visa",
    "granted": "contacts.export",
}


def _is_required(field: FieldDescriptor) -> bool:
    options: Any = field.GetOptions().Extensions
    return field_behavior_pb2.REQUIRED in options[field_behavior_pb2.field_behavior]


def _is_chosen(message: Message, field: FieldDescriptor, toward: Place) -> bool:
    oneof = field.containing_oneof
    if oneof is None:
        return True
    wanted = toward[0] if toward and toward[0].containing_oneof == oneof else None
    return field == wanted or (wanted is None and message.WhichOneof(oneof.name) is None)


def _put(message: Any, place: Place, value: str | bytes) -> None:
    *above, last = place
    for field in above:
        message = getattr(message, field.name)
        message = message[0] if field.is_repeated else message
    if last.is_repeated:
        del getattr(message, last.name)[:]
        getattr(message, last.name).append(value)
    else:
        setattr(message, last.name, value)
