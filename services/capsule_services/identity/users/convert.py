"""Users of the wire and of the domain, both ways and total."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_core.errors import InvalidField
from capsule_core.kept import Kept
from capsule_core.names import TenantId
from capsule_core.roles import Role
from capsule_core.tenancy import User, UserState
from capsule_services.identity.fields import carried_in, refuse_cards
from capsule_services.identity.names import user_name
from capsule_services.runtime.etags import etag

__all__ = ["granted_from", "removed_to", "role_from", "role_to", "user_from", "user_to"]

_PERMISSION: Final = re.compile(r"[a-z_]{1,32}\.[a-z_]{1,32}")


def user_from(message: pb.User, *, id: str, field: str = "user") -> User:  # noqa: A002  as the domain calls it
    """Read a user; *field* is where the request carries them.

    Raises:
        InvalidField: it is no user; the path is the wire's (``user.email``).
        CardNumberFound: a text holds a card number.
    """
    refuse_cards(message, field, "display_name", "email")
    with carried_in(field):
        return User(
            id=id,
            display_name=message.display_name,
            email=message.email,
            role=role_from(message.role),
            granted=granted_from(message.granted),
            marketing_refused=message.marketing_refused,
            state=UserState.REMOVED if message.state == pb.User.REMOVED else UserState.ACTIVE,
        )


def user_to(kept: Kept[User]) -> pb.User:
    """Write a user as they are answered."""
    user = kept.content
    message = pb.User(
        name=user_name(kept.tenant, kept.id),
        display_name=user.display_name,
        email=user.email,
        role=role_to(user.role),
        granted=user.granted,
        marketing_refused=user.marketing_refused,
        state=pb.User.State.Value(user.state.name),
        etag=etag(kept.version, trashed=kept.trash is not None),
    )
    message.create_time.FromDatetime(kept.created)
    message.update_time.FromDatetime(kept.updated)
    return message


def removed_to(tenant: TenantId, user: str) -> pb.User:
    """Write what is left of a user who was removed."""
    return pb.User(name=user_name(tenant, user), state=pb.User.REMOVED)


def role_from(role: pb.Role.ValueType, *, field: str = "role") -> Role:
    """Read a role.

    Raises:
        InvalidField: it is none.
    """
    if role not in pb.Role.values() or role == pb.ROLE_UNSPECIFIED:
        raise InvalidField(field, "must be one of the roles of this contract")
    return Role[pb.Role.Name(role)]


def role_to(role: Role) -> pb.Role.ValueType:
    """Write a role."""
    return pb.Role.Value(role.name)


def granted_from(granted: Iterable[str], *, field: str = "granted") -> tuple[str, ...]:
    """Read permissions, in order and each once.

    Raises:
        InvalidField: one has not the form of a permission.
    """
    permissions = list(granted)
    for place, permission in enumerate(permissions):
        if not _PERMISSION.fullmatch(permission):
            raise InvalidField(f"{field}[{place}]", "must be a permission, such as contacts.export")
    return tuple(sorted(set(permissions)))
