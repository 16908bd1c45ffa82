"""Where a message names resources: fields with a resource reference, and the names of resources themselves.

Found once from the descriptors, so that no method can forget to have its tenants looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.api import field_behavior_pb2, resource_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

__all__ = ["Plan", "first", "named", "plan"]

Plan = tuple[tuple[FieldDescriptor, "Plan | None"], ...]
"""The fields to follow: with a plan of their own where they are messages, without where they are names."""


def plan(message: Descriptor, *, above: tuple[Descriptor, ...] = ()) -> Plan:
    """Find every field of *message*, at any depth, that names a resource."""
    if message in above:
        return ()
    found: list[tuple[FieldDescriptor, Plan | None]] = []
    for field in message.fields:
        if _is_name(field):
            found.append((field, None))
        elif field.message_type is not None and (below := plan(field.message_type, above=(*above, message))):
            found.append((field, below))
    return tuple(found)


def first(message: Descriptor) -> str:
    """Return the path of the name that *message* begins with: its field 1, or field 1 of that; empty without one."""
    field = message.fields_by_number.get(1)
    if field is None or field.is_repeated:
        return ""
    if field.message_type is None:
        return field.name if _is_name(field) else ""
    below = first(field.message_type)
    return f"{field.name}.{below}" if below else ""


def named(message: Message, follow: Plan, above: str = "") -> Iterator[tuple[str, str]]:
    """Yield each name in *message* with the path of its field (``subjects[2]``); what is empty is left out."""
    for field, below in follow:
        for path, value in _values(message, field, above + field.name):
            if below is not None:
                yield from named(value, below, f"{path}.")
            elif value:
                yield path, value


def _values(message: Message, field: FieldDescriptor, path: str) -> Iterator[tuple[str, Any]]:
    if field.is_repeated:
        yield from ((f"{path}[{index}]", value) for index, value in enumerate(getattr(message, field.name)))
    elif field.message_type is None or message.HasField(field.name):
        yield path, getattr(message, field.name)


def _is_name(field: FieldDescriptor) -> bool:
    if field.type != FieldDescriptor.TYPE_STRING:
        return False
    options: Any = field.GetOptions()
    reference = options.Extensions[resource_pb2.resource_reference]
    identifier = field_behavior_pb2.IDENTIFIER in options.Extensions[field_behavior_pb2.field_behavior]
    return bool(reference.type or reference.child_type) or identifier
