"""What the front door of the library is asked with: each argument is of its type, or is refused by its name.

Types are hints in Python and nobody checks them. At the front door (``privacy``, ``governing``, ``receipts.verify``)
they are promises: a wrong one is an :class:`~capsule_core.errors.InvalidField`, as malformed text is. Inside, they are
not looked at again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, TypeVar

from capsule_core.errors import InvalidField
from capsule_core.names import ActorRef, SubjectRef, TenantId, tenant_id

__all__ = ["LONGEST_TEXT", "actor", "instance", "moment", "subject", "tenant", "text", "text_problem"]

T = TypeVar("T")

LONGEST_TEXT: Final = 4 * 2**20
"""Characters in one text field: more than a picture of two megabytes takes in base64."""

_LONGEST_ID: Final = 1000


def text_problem(value: object, *, longest: int = LONGEST_TEXT) -> str | None:
    """Say what keeps *value* from being a text that can be kept, or nothing."""
    if not isinstance(value, str):
        return "must be text"
    if len(value) > longest:
        return f"must have at most {longest} characters"
    if "\0" in value:
        return "must not contain the character U+0000"
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return "must be valid Unicode, without half a surrogate pair"
    return None


def text(name: str, value: object, *, empty: bool = False) -> str:
    """Take *value* as the id or short text that argument *name* is.

    Raises:
        InvalidField: it is none, or is longer than 1000 characters, or empty unless it may be.
    """
    if problem := text_problem(value, longest=_LONGEST_ID):
        raise InvalidField(name, problem)
    if not value and not empty:
        raise InvalidField(name, "must not be empty")
    return str(value)


def instance(name: str, value: object, kind: type[T]) -> T:
    """Take *value* as an instance of *kind*; a truth is no number.

    Raises:
        InvalidField: it is none.
    """
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InvalidField(name, f"must be of type {kind.__name__}")
    return value


def moment(name: str, value: object) -> datetime:
    """Take *value* as a moment that knows its time zone; errors as :func:`instance`."""
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidField(name, "must be a datetime that knows its time zone")
    return value


def tenant(value: Any) -> TenantId:
    """Take *value* as the id of a tenant; errors as :func:`names.tenant_id`."""
    return tenant_id(value)


def actor(value: object) -> ActorRef:
    """Take *value* as who acts, whatever kind of actor that is; errors as :func:`text`."""
    who = instance("by", value, ActorRef)
    text("by.kind", who.kind)
    text("by.id", who.id)
    return who


def subject(value: object) -> SubjectRef:
    """Take *value* as a person; errors as :func:`text`."""
    who = instance("who", value, SubjectRef)
    text("who.kind", who.kind)
    text("who.id", who.id)
    return who
