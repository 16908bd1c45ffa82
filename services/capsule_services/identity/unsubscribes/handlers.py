"""Who wants no marketing mail from whoever runs the deployment: users say so themselves, its mailers ask before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from capsule_core.answers import Request
from capsule_core.errors import InvalidField, PermissionDenied, ResourceMissing
from capsule_core.kept import Kept
from capsule_core.names import OPERATOR
from capsule_core.tenancy import User, UserState
from capsule_services.identity.presence import inside, kept_user, settled
from capsule_services.identity.refusals import list_of, refuse
from capsule_services.runtime.calls import Call
from capsule_services.runtime.holding import Holding, verb

__all__ = ["MOST", "check", "resubscribe", "unsubscribe"]

MOST: Final = 1000
"""Addresses of one question."""


def unsubscribe(holding: Holding, call: Call, user: str, *, request: Request | None) -> Kept[User]:
    """Put the caller's own address on the list; again, it changes nothing.

    Raises:
        PermissionDenied: it is not the caller who is named.
    """
    if request and (before := holding.repository.answered(call.within(), request)):
        return before[0]
    refuse(holding, call, _oneself(holding, call, user).content.email)
    return _said(holding, call, user, refused=True, request=request)


def resubscribe(holding: Holding, call: Call, user: str, *, evidence: str, request: Request | None) -> Kept[User]:
    """Take the caller's own address off the list, by their consent. The answer does not tell whether it was on it.

    Raises:
        PermissionDenied: it is not the caller who is named.
        InvalidField: nothing says which consent it is.
    """
    if request and (before := holding.repository.answered(call.within(), request)):
        return before[0]
    email = _oneself(holding, call, user).content.email
    list_of(holding).lift(email, evidence=evidence, verb=verb(call), now=holding.now())
    return _said(holding, call, user, refused=False, request=request)


def check(holding: Holding, call: Call, emails: Sequence[str]) -> list[bool]:
    """Tell of each address whether it is on the list, whoever it belongs to, if to anybody.

    Raises:
        InvalidField: there are none or too many, or one is no address.
    """
    if not 1 <= len(emails) <= MOST:
        raise InvalidField("emails", f"must be 1 to {MOST} addresses")
    told = list_of(holding).among(emails)
    holding.searched(inside(call, OPERATOR), [])
    return told


def _oneself(holding: Holding, call: Call, user: str) -> Kept[User]:
    if user != call.user().user:
        raise PermissionDenied(call.permission)
    kept = kept_user(holding, call, user)
    if kept.content.state is not UserState.ACTIVE:
        raise ResourceMissing("user")
    return kept


def _said(holding: Holding, call: Call, user: str, *, refused: bool, request: Request | None) -> Kept[User]:
    def said() -> Kept[User]:
        kept = _oneself(holding, call, user)
        if kept.content.marketing_refused is refused:
            return holding.repository.unchanged(kept, request=request)
        content = attrs.evolve(kept.content, marketing_refused=refused)
        return holding.repository.change(kept, content, act=holding.act(call), request=request)

    return settled(said)
