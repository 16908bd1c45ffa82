"""Who belongs to a tenant, as what, and who decides about it.

Who is a super administrator stands in one roster of the tenant, which every change of it writes: of two changes at
once, one is told that the roster has moved, and decides again.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import attrs

from capsule_core.errors import LastSuperAdministrator, PermissionDenied, Unauthenticated
from capsule_core.roles import EXPORT, Authority, Role, grantable
from capsule_core.tenancy._moments import is_due, written
from capsule_core.tenancy.accounts import Invitation, Roster, User, UserState

__all__ = [
    "INVITATION_LIFE",
    "MANAGE",
    "accept",
    "appoint",
    "authority",
    "dismiss",
    "found",
    "invite",
    "may_manage",
]

MANAGE: Final = "users.manage"
"""The permission to invite, change and remove users."""

INVITATION_LIFE: Final = timedelta(days=7)
"""How long an invitation can be accepted."""

_RANKS: Final = (Role.RESTRICTED, Role.STANDARD, Role.ADMINISTRATOR, Role.SUPER_ADMINISTRATOR)


def found(user: User, roster: str, tenant: str) -> tuple[User, Roster]:
    """Make *user* the first super administrator of *tenant*, who may export and grant it."""
    first = attrs.evolve(user, role=Role.SUPER_ADMINISTRATOR, granted=(EXPORT,))
    return first, Roster(id=roster, tenant=tenant, super_administrators=(first.id,))


def authority(user: User) -> Authority:
    """Return what *user* may do."""
    return Authority(user.role, frozenset(user.granted))


def may_manage(giver: User, role: Role) -> None:
    """Let *giver* go on to give or take *role*: nobody decides about more than they are themselves.

    Raises:
        PermissionDenied: the role is above the giver's own.
    """
    if _RANKS.index(role) > _RANKS.index(giver.role):
        raise PermissionDenied(MANAGE)


def invite(giver: User, invitation: Invitation) -> Invitation:
    """Let *giver* invite somebody to what *invitation* says.

    Raises:
        PermissionDenied: it is more than the giver may hand on.
    """
    may_manage(giver, invitation.role)
    granted = grantable(authority(giver), frozenset(invitation.granted))
    return attrs.evolve(invitation, granted=tuple(sorted(granted)), invited_by=giver.id)


def accept(invitation: Invitation, roster: Roster, *, by: User, now: datetime) -> tuple[User, Invitation, Roster]:
    """Make the invited person a user and use the invitation up; *by* is who invited them, as they are now.

    Raises:
        Unauthenticated: it was used, it has expired, or who made it may not invite to that any more.
    """
    if invitation.accepted_at or is_due(invitation.expires_at, now=now) or by.state is not UserState.ACTIVE:
        raise Unauthenticated
    try:
        invite(by, invitation)
    except PermissionDenied:
        raise Unauthenticated from None
    user = User(
        id=invitation.user,
        display_name=invitation.display_name,
        email=invitation.email,
        role=invitation.role,
        granted=invitation.granted,
    )
    used = attrs.evolve(invitation, display_name="", email="", secret="", accepted_at=written(now))
    return user, used, _listed(roster, user)


def appoint(roster: Roster, user: User, role: Role, granted: Iterable[str], *, by: User) -> tuple[Roster, User]:
    """Give *user* another role and other grants; *by* is who does so, as they are now.

    Raises:
        PermissionDenied: it is more than *by* may give or take.
        LastSuperAdministrator: nobody would control the tenant any more.
    """
    may_manage(by, user.role)
    may_manage(by, role)
    allowed = grantable(authority(by), frozenset(granted))
    appointed = attrs.evolve(user, role=role, granted=tuple(sorted(allowed)))
    return _listed(roster, appointed), appointed


def dismiss(roster: Roster, user: User, *, by: User) -> tuple[Roster, User]:
    """End *user*: they can do nothing any more.

    Raises:
        PermissionDenied: they are above *by*.
        LastSuperAdministrator: nobody would control the tenant any more.
    """
    may_manage(by, user.role)
    ended = attrs.evolve(user, role=Role.RESTRICTED, granted=(), state=UserState.REMOVED)
    return _listed(roster, ended), ended


def _listed(roster: Roster, user: User) -> Roster:
    """Bring the roster in line with what *user* is now."""
    others = tuple(each for each in roster.super_administrators if each != user.id)
    listed = (*others, user.id) if user.role is Role.SUPER_ADMINISTRATOR else others
    if not listed:
        raise LastSuperAdministrator
    if set(listed) == set(roster.super_administrators):
        return roster
    return attrs.evolve(roster, super_administrators=listed)
