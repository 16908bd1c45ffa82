"""Who may do what in a tenant.

A permission is a dotted name (``contacts.purge``); a role is a set of them. Export is granted apart from any role, and
whoever lacks a permission cannot grant it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import attrs

from capsule_core.errors import PermissionDenied

__all__ = ["EXPORT", "Authority", "Role", "allows", "grantable", "require"]

EXPORT: Final = "contacts.export"
"""The one permission no role brings along."""


class Role(enum.Enum):
    """The four roles of a user."""

    SUPER_ADMINISTRATOR = "super_administrator"
    ADMINISTRATOR = "administrator"
    STANDARD = "standard"
    RESTRICTED = "restricted"


_RESTRICTED: Final = frozenset({"contacts.read", "history.read", "lists.read", "users.self", "tenant.read"})
_STANDARD: Final = _RESTRICTED | {
    "contacts.create",
    "contacts.edit",
    "contacts.delete",
    "contacts.restore",
    "history.write",
    "lists.write",
    "users.read",
}
_ADMINISTRATOR: Final = _STANDARD | {
    "contacts.import",
    "contacts.read_holds",
    "contacts.read_retention",
    "erasures.read",
}
_SUPER_ADMINISTRATOR: Final = _ADMINISTRATOR | {
    "contacts.purge",
    "contacts.hold",
    "contacts.release_hold",
    "contacts.set_retention",
    "contacts.lift_suppression",
    "users.manage",
    "users.lift_suppression",
    "tenant.manage",
    "tenant.close",
    "tenant.reopen",
    "ledger.read",
}
_WHILE_CLOSED: Final = frozenset(
    {
        *(
            "contacts.read",
            "history.read",
            "lists.read",
            EXPORT,
            "contacts.read_holds",
            "contacts.read_retention",
            "erasures.read",
        ),
        *("users.self", "users.read", "tenant.read", "tenant.manage", "tenant.close", "tenant.reopen", "ledger.read"),
        "contacts.release_hold",
    }
)
"""Looking, exporting, reopening; and letting go what is held, for nobody could later."""

_PERMISSIONS: Final[Mapping[Role, frozenset[str]]] = {
    Role.RESTRICTED: _RESTRICTED,
    Role.STANDARD: _STANDARD,
    Role.ADMINISTRATOR: _ADMINISTRATOR,
    Role.SUPER_ADMINISTRATOR: _SUPER_ADMINISTRATOR,
}


@attrs.frozen
class Authority:
    """What a caller may do: the permissions of a role, and those granted on top.

    While their tenant is *closed*, it is that and no more than looking, exporting and reopening.
    """

    role: Role
    granted: frozenset[str] = frozenset()
    closed: bool = False


def allows(authority: Authority, permission: str) -> bool:
    """Tell whether *authority* holds *permission*; for display only, decisions use :func:`require`."""
    held = permission in _PERMISSIONS[authority.role] or permission in authority.granted
    return held and (not authority.closed or permission in _WHILE_CLOSED)


def require(authority: Authority, permission: str) -> None:
    """Let the call go on if *authority* holds *permission*.

    Raises:
        PermissionDenied: it does not.
    """
    if not allows(authority, permission):
        raise PermissionDenied(permission)


def grantable(giver: Authority, permissions: frozenset[str]) -> frozenset[str]:
    """Return *permissions* if *giver* may hand them on: each is one that the giver holds.

    Raises:
        PermissionDenied: the giver lacks one of them.
    """
    for permission in sorted(permissions):
        require(giver, permission)
    return permissions
