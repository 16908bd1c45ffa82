"""Identifiers on the wire and in the domain."""

from __future__ import annotations

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.errors import InvalidField
from capsule_core.personal import Form

__all__ = ["identifier_from"]


def identifier_from(message: pb.LiftSuppressionRequest) -> tuple[Form, str]:
    """Read what somebody was known by.

    Raises:
        InvalidField: neither an e-mail address nor a phone number is given.
    """
    given = message.WhichOneof("identifier")
    if given is None:
        raise InvalidField("email", "is required, or else phone")
    return Form(given), getattr(message, given)
