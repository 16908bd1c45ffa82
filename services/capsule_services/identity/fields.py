"""What is wrong with a field, told by the path it has on the wire; and what of a request is remembered nowhere."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from capsule_core.errors import InvalidField
from capsule_core.guards import refuse_card_numbers

__all__ = ["carried_in", "refuse_cards", "without_passwords"]

M = TypeVar("M", bound=Message)


@contextlib.contextmanager
def carried_in(field: str, **renamed: str) -> Generator[None]:
    """Say of a malformed field that the request carries it in *field*; some are *renamed* on the wire."""
    try:
        yield
    except InvalidField as error:
        path = filter(None, (field, renamed.get(error.field, error.field)))
        raise InvalidField(".".join(path), error.problem) from None


def refuse_cards(message: Message, field: str, *texts: str) -> None:
    """Refuse *message*, carried in *field*, if a card number stands in one of its *texts*.

    Raises:
        CardNumberFound: naming the field by its path (``payment_method.token``).
    """
    for name in texts:
        refuse_card_numbers(".".join(filter(None, (field, name))), getattr(message, name))


def without_passwords(request: M) -> M:
    """Return what a repeated request is recognised by: even a digest of a password would be a quick way to guess it."""
    kept = type(request)()
    kept.CopyFrom(request)
    _clear_passwords(kept)
    return kept


def _clear_passwords(message: Message) -> None:
    if "password" in message.DESCRIPTOR.fields_by_name:
        message.ClearField("password")
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE and not field.is_repeated:
            _clear_passwords(value)
