"""Users: who they are, what they may do, and their end."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from typing import Final

import attrs

from capsule_core.answers import Request
from capsule_core.errors import IdentifierTaken, InvalidField, RequestReused, ResourceMissing, SubjectHeld
from capsule_core.kept import Kept, Listing
from capsule_core.names import SubjectRef, encoded
from capsule_core.records import Expected, Where
from capsule_core.repository import Draft
from capsule_core.roles import Role, require
from capsule_core.story import Erasure
from capsule_core.tenancy import Roster, User, UserState, appoint, dismiss, may_manage
from capsule_services.identity.presence import (
    as_is,
    email_claimed,
    kept_roster,
    kept_user,
    managing_user,
    require_etag,
    roster_drafts,
    settled,
    user_with,
)
from capsule_services.identity.refusals import refuse
from capsule_services.runtime.calls import Call
from capsule_services.runtime.etags import Etag
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.paging import Window

__all__ = ["GROUND", "change_role", "get", "list_users", "remove", "update"]

GROUND: Final = "removal"
"""Why a user who is removed is erased."""


def get(holding: Holding, call: Call, user: str) -> Kept[User]:
    """Return a user; anybody but oneself takes a permission."""
    if user != call.user().user:
        require(call.user().authority, "users.read")
    kept = kept_user(holding, call, user)
    holding.shown(call, [kept])
    return kept


def list_users(holding: Holding, call: Call, window: Window) -> Listing:
    """List the users of the tenant, newest first."""
    where = Where(tenant=call.within(), kinds=("user",))
    listing = holding.repository.select(where, use=call.use, limit=window.limit, after=window.after)
    holding.shown(call, listing.records)
    return listing


def update(
    holding: Holding,
    call: Call,
    user: str,
    change: Callable[[Kept[User]], User],
    *,
    etag: Etag | None,
    request: Request | None,
) -> Kept[User]:
    """Keep what *change* makes of a user's own details; anybody else's take a permission.

    Raises:
        IdentifierTaken: another user has that e-mail address.
        InvalidField: it takes back that marketing was refused.
    """
    if request and (before := holding.repository.answered(call.within(), request)):
        return before[0]
    expects: tuple[Expected, ...] = ()
    giver = managing_user(holding, call) if user != call.user().user else None
    kept = _active(holding, call, user, etag)
    if giver is not None:
        may_manage(giver.content, kept.content.role)
        expects = as_is(giver)
    wanted = change(kept)
    content = attrs.evolve(
        kept.content,
        display_name=wanted.display_name,
        email=wanted.email,
        marketing_refused=wanted.marketing_refused,
    )
    if content == kept.content:
        return kept
    _heed_refusal(holding, call, kept.content, content)
    with email_claimed():
        return holding.repository.change(kept, content, act=holding.act(call, expects=expects), request=request)


def _heed_refusal(holding: Holding, call: Call, before: User, content: User) -> None:
    """Let who refuses marketing be on the operator's list, under the address that they have from now on."""
    if before.marketing_refused and not content.marketing_refused:
        raise InvalidField("user.marketing_refused", "is taken back by ResubscribeUser, with the user's own consent")
    if not content.marketing_refused or (before.marketing_refused, before.email) == (True, content.email):
        return
    other = user_with(holding, call, content.email)
    if other is not None and other.id != content.id:
        raise IdentifierTaken("user", "email")
    refuse(holding, call, content.email)


def change_role(
    holding: Holding,
    call: Call,
    user: str,
    *,
    role: Role,
    granted: Iterable[str],
    etag: Etag | None,
    request: Request | None,
) -> Kept[User]:
    """Give a user another role and other grants.

    Raises:
        PermissionDenied: it is more than the caller may give or take.
        LastSuperAdministrator: nobody would control the tenant any more.
    """
    if request and (before := holding.repository.answered(call.within(), request)):
        return before[0]
    wanted = tuple(granted)

    def decide() -> Kept[User]:
        giver, roster, kept = _together(holding, call, user, etag)
        listed, appointed = appoint(roster.content, kept.content, role, wanted, by=giver.content)
        if appointed == kept.content:
            return kept
        return _keep(holding, call, giver=giver, user=(kept, appointed), roster=(roster, listed), request=request)

    return settled(decide)


def remove(holding: Holding, call: Call, user: str, *, etag: Etag | None, request: Request | None) -> None:
    """End a user and all their sessions, and erase them; what they wrote keeps their id, which means nobody any more.

    Raises:
        PermissionDenied: they are above the caller.
        LastSuperAdministrator: nobody would control the tenant any more.
    """
    erasure = _erasure(holding, call, user, request)
    done = holding.eraser.receipt(call.within(), erasure.id, now=holding.now())
    if done is not None:
        if done.statement.subjects != erasure.subjects:
            raise RequestReused
        return
    ended = settled(lambda: _ended(holding, call, user, etag))
    call.last_look.forget()  # the answer has their id, and nothing else
    try:
        holding.eraser.erase(erasure, now=holding.now())
    except SubjectHeld:
        # A hold keeps the data, not the user: it goes with the trash once nothing holds it.
        if ended.trash is None:
            holding.repository.trash(ended, holding.new_id("b"), act=holding.act(call))


def _ended(holding: Holding, call: Call, user: str, etag: Etag | None) -> Kept[User]:
    kept = kept_user(holding, call, user)
    if kept.content.state is UserState.REMOVED:
        managing_user(holding, call)
        return kept
    giver, roster, kept = _together(holding, call, user, etag)
    listed, content = dismiss(roster.content, kept.content, by=giver.content)
    return _keep(holding, call, giver=giver, user=(kept, content), roster=(roster, listed), request=None)


def _together(
    holding: Holding, call: Call, user: str, etag: Etag | None
) -> tuple[Kept[User], Kept[Roster], Kept[User]]:
    """Read what a change of a role is decided by: who changes, who the super administrators are, whose it is."""
    roster = kept_roster(holding, call)
    return managing_user(holding, call), roster, _active(holding, call, user, etag)


def _keep(
    holding: Holding,
    call: Call,
    *,
    giver: Kept[User],
    user: tuple[Kept[User], User],
    roster: tuple[Kept[Roster], Roster],
    request: Request | None,
) -> Kept[User]:
    """Keep a user and the roster, if nothing that was decided by has changed."""
    drafts = [Draft(user[1], root=user[0].root, at=user[0].at, over=user[0]), *roster_drafts(*roster)]
    act = holding.act(call, expects=as_is(giver))
    changed: Kept[User] = holding.repository.add(drafts, act=act, request=request)[0]
    return changed


def _active(holding: Holding, call: Call, user: str, etag: Etag | None) -> Kept[User]:
    kept = kept_user(holding, call, user)
    if kept.content.state is not UserState.ACTIVE:
        raise ResourceMissing("user")
    require_etag(kept, etag)
    return kept


def _erasure(holding: Holding, call: Call, user: str, request: Request | None) -> Erasure:
    """Name the erasure by the request, so that a crash between the erasure and its answer loses neither."""
    name = holding.new_id("e")
    if request is not None:
        named = f"erasure\0{request.caller}\0{request.method}\0{request.id}".encode()
        name = "e" + encoded(hmac.digest(holding.vault.tenant(call.within()).answers, named, "sha256")[:16])
    subject = holding.repository.subject_key(SubjectRef(call.within(), "user", user))
    return Erasure(
        tenant=call.within(),
        id=name,
        subjects=(subject,),
        ground=GROUND,
        by=call.actor,
        requested=holding.now(),
    )
