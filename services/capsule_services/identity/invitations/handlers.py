"""Invitations: single-use secrets that make somebody a user."""

from __future__ import annotations

import base64
import hmac

import attrs

from capsule_core.answers import Request
from capsule_core.blind import surrogate
from capsule_core.errors import IdentifierTaken, InvalidField, RequestReused, Unauthenticated
from capsule_core.kept import Kept
from capsule_core.names import RecordId, record_id, tenant_id
from capsule_core.repository import Draft
from capsule_core.tenancy import INVITATION_LIFE, Credential, Invitation, User, accept, invite, written
from capsule_services.identity.passwords import Passwords
from capsule_services.identity.presence import (
    as_is,
    credential_id,
    email_claimed,
    inside,
    kept_account,
    kept_credential,
    kept_roster,
    managing_user,
    roster_drafts,
    settled,
    user_with,
)
from capsule_services.runtime.calls import Call
from capsule_services.runtime.holding import Holding

__all__ = ["Invited", "accept_invitation", "invite_user"]


@attrs.frozen(kw_only=True)
class Invited:
    """An invitation, and the secret that accepts it."""

    invitation: Kept[Invitation]
    token: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class _Presented:
    """A token as it was presented: *call* is inside the tenant it names."""

    call: Call
    invitation: RecordId
    secret: str = attrs.field(repr=False)


def invite_user(holding: Holding, call: Call, invitation: Invitation, request: Request | None) -> Invited:
    """Invite somebody; whoever becomes a user keeps the id they are invited under.

    Raises:
        PermissionDenied: it is more than the caller may hand on.
        IdentifierTaken: a user has that e-mail address.
    """
    secret = _made_secret(holding, call, request)
    if request and (before := holding.repository.answered(call.within(), request)):
        return Invited(invitation=before[0], token=_token(before[0], secret))
    giver = managing_user(holding, call)
    user = holding.new_id("u")
    allowed = attrs.evolve(
        invite(giver.content, invitation),
        id=f"i{user[1:]}",
        user=user,
        secret=_hashed(holding, call, secret),
        expires_at=written(holding.now() + INVITATION_LIFE),
    )
    if user_with(holding, call, invitation.email) is not None:
        raise IdentifierTaken("user", "email")
    draft, act = Draft(allowed, root=RecordId(user)), holding.act(call, expects=as_is(giver))
    kept = holding.repository.add([draft], act=act, request=request)[0]
    return Invited(invitation=kept, token=_token(kept, secret))


def accept_invitation(
    holding: Holding, call: Call, token: str, password: str, request: Request | None, *, passwords: Passwords
) -> Kept[User]:
    """Make the invited person a user, and use the invitation up.

    Raises:
        Unauthenticated: the token is not one that can be accepted, or not any more; nobody is told which.
        InvalidField: the password may not be chosen.
    """
    presented = _presented(holding, call, token)
    if request and (before := holding.repository.answered(presented.call.within(), request)):
        # No hash of a password is ever kept but the slow one, so a repeated password is compared with that.
        kept = kept_credential(holding, presented.call, before[0].id)
        if not passwords.is_right(password, kept.content.password_hash):
            raise RequestReused
        return before[0]
    invitation = _invitation(holding, presented).content
    kept_hash = passwords.hashed(password, about=(invitation.display_name, invitation.email))
    return settled(lambda: _joined(holding, presented, kept_hash, request))


def _joined(holding: Holding, presented: _Presented, kept_hash: str, request: Request | None) -> Kept[User]:
    call, kept = presented.call, _invitation(holding, presented)
    giver = holding.repository.read(call.within(), [RecordId(kept.content.invited_by)], use=call.use)[0]
    if giver is None:
        raise Unauthenticated
    roster = kept_roster(holding, call)
    user, used, listed = accept(kept.content, roster.content, by=giver.content, now=holding.now())
    credential = Credential(id=credential_id(user.id), user=user.id, password_hash=kept_hash)
    drafts = [
        Draft(user),
        Draft(credential, root=RecordId(user.id)),
        Draft(used, root=kept.root, at=kept.at, over=kept),
        *roster_drafts(roster, listed),
    ]
    with email_claimed():
        act = holding.act(call, expects=as_is(giver))
        joined: Kept[User] = holding.repository.add(drafts, act=act, request=request)[0]
    return joined


def _invitation(holding: Holding, presented: _Presented) -> Kept[Invitation]:
    kept = holding.repository.read(presented.call.within(), [presented.invitation], use=presented.call.use)[0]
    if kept is None or not isinstance(kept.content, Invitation):
        raise Unauthenticated
    hashed = _hashed(holding, presented.call, presented.secret)
    if not hmac.compare_digest(kept.content.secret.encode(), hashed.encode()):
        raise Unauthenticated
    return kept


def _presented(holding: Holding, call: Call, token: str) -> _Presented:
    """Take a token apart; only then the tenant's keys may be asked for."""
    try:
        tenant, invitation, secret = token.split(".")
        call = inside(call, tenant_id(tenant))
        presented = _Presented(call=call, invitation=record_id(invitation), secret=secret)
    except (ValueError, InvalidField):
        raise Unauthenticated from None
    if kept_account(holding, call) is None:
        raise Unauthenticated
    return presented


def _token(kept: Kept[Invitation], secret: str) -> str:
    return f"{kept.tenant}.{kept.id}.{secret}"


def _hashed(holding: Holding, call: Call, secret: str) -> str:
    return surrogate(holding.vault.tenant(call.within()), "invitation", secret)


def _made_secret(holding: Holding, call: Call, request: Request | None) -> str:
    """Make a secret; out of the request, if that can come again: then the secret need not be kept to be answered."""
    raw = holding.random(32)
    if request is not None:
        named = f"invitation\0{request.caller}\0{request.id}".encode()
        raw = hmac.digest(holding.vault.tenant(call.within()).answers, named, "sha256")
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
