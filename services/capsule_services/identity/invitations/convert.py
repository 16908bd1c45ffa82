"""Invitations of the wire and of the domain, both ways and total."""

from __future__ import annotations

from datetime import datetime

from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_core.kept import Kept
from capsule_core.tenancy import Invitation
from capsule_services.identity.fields import carried_in, refuse_cards
from capsule_services.identity.names import invitation_name
from capsule_services.identity.users.convert import granted_from, role_from, role_to

__all__ = ["invitation_from", "invitation_to", "without_password"]


def invitation_from(message: pb.Invitation, *, field: str = "invitation") -> Invitation:
    """Read an invitation without ids; *field* is where the request carries it.

    Raises:
        InvalidField: it is no invitation; the path is the wire's (``invitation.email``).
        CardNumberFound: a text holds a card number.
    """
    refuse_cards(message, field, "display_name", "email")
    with carried_in(field):
        return Invitation(
            id="",
            user="",
            display_name=message.display_name,
            email=message.email,
            role=role_from(message.role),
            granted=granted_from(message.granted),
        )


def invitation_to(kept: Kept[Invitation]) -> pb.Invitation:
    """Write an invitation as it is answered."""
    invitation = kept.content
    message = pb.Invitation(
        name=invitation_name(kept.tenant, kept.id),
        display_name=invitation.display_name,
        email=invitation.email,
        role=role_to(invitation.role),
        granted=invitation.granted,
    )
    message.create_time.FromDatetime(kept.created)
    message.expire_time.FromDatetime(datetime.fromisoformat(invitation.expires_at))
    return message


def without_password(request: pb.AcceptInvitationRequest) -> pb.AcceptInvitationRequest:
    """Return what a repeated request is recognised by: even a digest of a password would be a quick way to guess it."""
    kept = pb.AcceptInvitationRequest()
    kept.CopyFrom(request)
    kept.ClearField("password")
    return kept
