"""What is checked in every request before a servicer sees it, from the descriptors alone (AIP-203, AIP-155, AIP-202).

And what a repeated request is recognised by, also while the first is being worked on.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Final
from uuid import UUID

import attrs
from google.api import field_behavior_pb2, field_info_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from capsule_core.errors import InvalidField, RequestInFlight, TooMany

__all__ = ["MASK", "InFlight", "Shape", "check", "check_required", "request_digest", "shape_of"]

MASK: Final = "update_mask"
"""The field that makes the resource of a request a partial one (AIP-134)."""

_LONGEST_TEXT: Final = 1 << 20
_MOST_ITEMS: Final = 10_000
_UNREADABLE: Final = re.compile("[\0\ud800-\udfff]")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@attrs.frozen
class InFlight:
    """The requests with an id that are being worked on in this process."""

    _keys: set[tuple[str, ...]] = attrs.field(factory=set, init=False, repr=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    @contextmanager
    def alone(self, request: Message, *about: str) -> Generator[None]:
        """Work on *request* while nobody else works on the same; *about* says by what its id is unique.

        Raises:
            RequestInFlight: somebody does.
        """
        key = (*about, _id_of(request))
        if not key[-1]:
            yield
            return
        with self._lock:
            if key in self._keys:
                raise RequestInFlight
            self._keys.add(key)
        try:
            yield
        finally:
            with self._lock:
                self._keys.remove(key)


@attrs.frozen(kw_only=True)
class Shape:
    """How the fields of one kind of message behave (AIP-203)."""

    required: Sequence[FieldDescriptor]
    output_only: frozenset[str]
    identifiers: frozenset[str]
    immutable: frozenset[str]
    uuids: frozenset[str]


def check(request: Message) -> None:
    """Refuse what is malformed, and clear what only the server says.

    A request with an update mask carries a part of a resource; what is missing there is for :func:`masks.updated`.

    Raises:
        InvalidField: a field is missing, a text has characters that are none, an id is no UUID4, a value is unknown.
        TooMany: a list is longer than a request may carry.
    """
    fields = request.DESCRIPTOR.fields_by_name
    _check_values(request, "")
    _check_missing(request, "", skip=frozenset(fields) if MASK in fields else frozenset())


def check_required(message: Message, above: str) -> None:
    """Refuse *message*, found at the path *above*, if a required field is missing at any depth.

    Raises:
        InvalidField: it is.
    """
    _check_missing(message, f"{above}.", skip=frozenset())


def request_digest(request: Message) -> bytes:
    """Return 32 bytes that tell *request* from any other, whatever its request id is."""
    kept = type(request)()
    kept.CopyFrom(request)
    if "request_id" in kept.DESCRIPTOR.fields_by_name:
        kept.ClearField("request_id")
    content = kept.SerializeToString(deterministic=True)
    return hashlib.sha256(kept.DESCRIPTOR.full_name.encode() + b"\0" + content).digest()


@cache
def shape_of(descriptor: Descriptor) -> Shape:
    """Read how the fields of a kind of message behave."""
    options: dict[str, Any] = {field.name: field.GetOptions().Extensions for field in descriptor.fields}

    def having(behaviour: int) -> frozenset[str]:
        return frozenset(name for name, said in options.items() if behaviour in said[field_behavior_pb2.field_behavior])

    uuid4 = field_info_pb2.FieldInfo.UUID4
    required = having(field_behavior_pb2.REQUIRED)
    return Shape(
        required=tuple(field for field in descriptor.fields if field.name in required),
        output_only=having(field_behavior_pb2.OUTPUT_ONLY),
        identifiers=having(field_behavior_pb2.IDENTIFIER),
        immutable=having(field_behavior_pb2.IMMUTABLE),
        uuids=frozenset(name for name, said in options.items() if said[field_info_pb2.field_info].format == uuid4),
    )


def _id_of(request: Any) -> str:
    return request.request_id if "request_id" in shape_of(request.DESCRIPTOR).uuids else ""


def _check_values(message: Message, above: str) -> None:
    shape = shape_of(message.DESCRIPTOR)
    for name in shape.output_only:
        message.ClearField(name)
    for field, value in message.ListFields():
        if field.is_repeated and len(value) > _MOST_ITEMS:
            raise TooMany(above + field.name, _MOST_ITEMS)
        for path, each in _items(field, value, above):
            _check_value(field, each, path)
            if field.name in shape.uuids and not _is_uuid4(each):
                raise InvalidField(path, "must be a UUID of version 4 (RFC 9562)")


def _check_value(field: FieldDescriptor, value: Any, path: str) -> None:
    if field.type == FieldDescriptor.TYPE_STRING:
        if len(value) > _LONGEST_TEXT:
            raise InvalidField(path, f"is longer than {_LONGEST_TEXT} characters")
        if _UNREADABLE.search(value):
            raise InvalidField(path, "contains a NUL or half a surrogate pair")
    elif field.type == FieldDescriptor.TYPE_ENUM:
        if field.enum_type is not None and value not in field.enum_type.values_by_number:
            raise InvalidField(path, "is not one of the values this field can have")
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        _check_values(value, f"{path}.")


def _check_missing(message: Message, above: str, *, skip: frozenset[str]) -> None:
    for field in shape_of(message.DESCRIPTOR).required:
        present = bool(getattr(message, field.name)) if not field.has_presence else message.HasField(field.name)
        if not present:
            raise InvalidField(above + field.name, "is required")
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE and field.name not in skip:
            for path, each in _items(field, value, above):
                _check_missing(each, f"{path}.", skip=frozenset())


def _items(field: FieldDescriptor, value: Any, above: str) -> Iterator[tuple[str, Any]]:
    path = above + field.name
    if field.is_repeated:
        yield from ((f"{path}[{index}]", each) for index, each in enumerate(value))
    else:
        yield path, value


def _is_uuid4(text: str) -> bool:
    return _UUID.fullmatch(text) is not None and UUID(text).version == 4
