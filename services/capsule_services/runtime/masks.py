"""Partial updates by field mask (AIP-134, AIP-161), over any two messages of one kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from capsule_core.errors import InvalidField
from capsule_services.runtime.requests import MASK, Shape, check_required, shape_of

__all__ = ["updated"]

M = TypeVar("M", bound=Message)
_EVERYTHING: Final = "*"


def updated(current: M, sent: M, mask: FieldMask, *, field: str) -> M:
    """Return *current* with the fields of *sent* that *mask* names; *field* is where the request carries *sent*.

    An empty mask names what is set in *sent*, ``*`` names everything. The resource's name, its etag and what only the
    server says stay as they are.

    Raises:
        InvalidField: a path names no field, or one that never changes; or the result lacks what is required.
    """
    result = type(current)()
    result.CopyFrom(current)
    paths = list(mask.paths)
    if _EVERYTHING in paths:
        if len(paths) > 1:
            raise InvalidField(MASK, "must hold nothing else beside '*'")
        _replace(result, sent, field)
    elif paths:
        for index, path in enumerate(paths):
            _follow(result, sent, path.split("."), at=f"{MASK}.paths[{index}]", where=f"{field}.{path}")
    else:
        _merge(result, sent, field)
    check_required(result, field)
    return result


def _kept(shape: Shape, name: str) -> bool:
    return name in shape.output_only or name in shape.identifiers or name == "etag"


def _replace(result: Message, sent: Message, where: str) -> None:
    for each in _fields(result).values():
        if not _kept(shape_of(result.DESCRIPTOR), each.name):
            _copy(result, sent, each, f"{where}.{each.name}")


def _merge(result: Message, sent: Message, where: str) -> None:
    for each, value in sent.ListFields():
        path = f"{where}.{each.name}"
        if _kept(shape_of(result.DESCRIPTOR), each.name):
            continue
        if _goes_deeper(each):
            before = _snapshot(result)
            _merge(getattr(result, each.name), value, path)
            getattr(result, each.name).SetInParent()
            _keep_immutable(result, before, each.name, path)
        else:
            _copy(result, sent, each, path)


def _follow(result: Message, sent: Message, path: list[str], *, at: str, where: str) -> None:
    name, *below = path
    each = _fields(result).get(name)
    if each is None or (below and not _goes_deeper(each)):
        raise InvalidField(at, "names no field of the resource")
    if _kept(shape_of(result.DESCRIPTOR), name):
        return
    if not below:
        _copy(result, sent, each, where)
    elif result.HasField(name) or sent.HasField(name):
        before = _snapshot(result)
        _follow(getattr(result, name), getattr(sent, name), below, at=at, where=where)
        _keep_immutable(result, before, name, where)
    else:
        _follow(type(getattr(result, name))(), type(getattr(sent, name))(), below, at=at, where=where)


def _copy(result: Message, sent: Message, each: FieldDescriptor, where: str) -> None:
    before = _snapshot(result)
    result.ClearField(each.name)
    if each.is_repeated:
        getattr(result, each.name).MergeFrom(getattr(sent, each.name))
    elif each.has_presence and not sent.HasField(each.name):
        pass
    elif each.message_type is not None:
        getattr(result, each.name).CopyFrom(getattr(sent, each.name))
    else:
        setattr(result, each.name, getattr(sent, each.name))
    _keep_immutable(result, before, each.name, where)


def _snapshot(message: M) -> M:
    before = type(message)()
    before.CopyFrom(message)
    return before


def _keep_immutable(result: Message, before: Message, name: str, where: str) -> None:
    if name in shape_of(result.DESCRIPTOR).immutable and result != before:
        raise InvalidField(where, "never changes after it was set")


def _fields(message: Message) -> Mapping[str, FieldDescriptor]:
    return cast(Mapping[str, FieldDescriptor], message.DESCRIPTOR.fields_by_name)


def _goes_deeper(each: FieldDescriptor) -> bool:
    # A Timestamp or a Duration is one value, although it is a message.
    message = each.message_type
    return message is not None and not each.is_repeated and not message.full_name.startswith("google.")
