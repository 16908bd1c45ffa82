"""Sessions: signing in, signing out, and whether a token's session still is.

Whoever tries a password gets the same answer for the same work, whether the tenant, the user or neither is there: what
is not there is played by the users of a tenant called nobody, whose passwords are never right. Every attempt is written
down over the state it was judged by; so, however many come at once, no more count than the waits between them allow.
"""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import Final

import attrs

from capsule_core.errors import FailedPrecondition, Unauthenticated, Unavailable, VersionMismatch
from capsule_core.kept import Kept
from capsule_core.names import RecordId
from capsule_core.records import Expected, Where
from capsule_core.repository import Draft
from capsule_core.roles import Role
from capsule_core.tenancy import (
    Credential,
    Session,
    TenantAccount,
    TenantState,
    User,
    UserState,
    authority,
    fail,
    is_due,
    may_try,
    written,
)
from capsule_core.uses import Use
from capsule_services.identity.issuer import Issuer
from capsule_services.identity.passwords import Passwords
from capsule_services.identity.presence import (
    NOBODY,
    credential_id,
    inside,
    kept_account,
    kept_credential,
    settled,
    user_with,
)
from capsule_services.identity.signing import LIFETIME
from capsule_services.runtime.callers import Anonymous, UserCaller
from capsule_services.runtime.calls import Call
from capsule_services.runtime.holding import Holding

__all__ = ["SignedIn", "is_open", "prepare", "sign_in", "sign_out"]

_NOBODIES: Final = 64
"""So many that attempts on different addresses rarely meet on one."""

_MOST_SESSIONS: Final = 100


@attrs.frozen(kw_only=True)
class SignedIn:
    """A token, until when it works, and whose it is."""

    token: str = attrs.field(repr=False)
    expires: datetime
    user: Kept[User]


@attrs.frozen(kw_only=True)
class _Claim:
    """Who somebody says they are: *user* is None if they are not there; *call* is inside where they would be."""

    call: Call
    user: Kept[User] | None
    credential: Kept[Credential]


def prepare(holding: Holding) -> None:
    """Make the users who stand for everybody that is not there; once, before anybody is served."""
    call = Call(
        method="/capsule_api.identity.v1.IdentityService/SignIn",
        permission="sessions.create",
        use=Use.SECURITY,
        caller=Anonymous(),
        tenant=NOBODY,
    )
    users = [f"u{number:02}" for number in range(_NOBODIES)]
    if holding.repository.read(NOBODY, [credential_id(users[0])], use=Use.SECURITY)[0] is None:
        credentials = [Credential(id=credential_id(user), user=user, password_hash="") for user in users]
        holding.repository.add([Draft(each) for each in credentials], act=holding.act(call))


def sign_in(
    holding: Holding, call: Call, email: str, password: str, *, passwords: Passwords, issuer: Issuer
) -> SignedIn:
    """Trade an e-mail address and a password for a token.

    Raises:
        Unauthenticated: the tenant, the address or the password is not right, or too many attempts failed; nobody is
            told which.
        Unavailable: too many attempts on one user came at once.
    """
    try:
        signed_in = settled(lambda: _judged(holding, call, email, password, passwords=passwords, issuer=issuer))
    except VersionMismatch:
        raise Unavailable from None
    except FailedPrecondition:  # the user was removed at this very moment
        raise Unauthenticated from None
    if signed_in is None:
        raise Unauthenticated
    return signed_in


def sign_out(holding: Holding, call: Call, *, issuer: Issuer) -> None:
    """End the session that the call came with; one that is over stays so."""
    kept = _session(holding, call.user())
    if kept is not None:
        ended = attrs.evolve(kept.content, expires_at=written(issuer.wall()))
        holding.repository.change(kept, ended, act=holding.act(call))


def is_open(holding: Holding, caller: UserCaller, *, now: datetime) -> bool:
    """Tell whether the session of a token is open, and its user still what it says; *now* is the wall clock's."""
    try:
        session = _session(holding, caller)
        user = holding.repository.read(caller.tenant, [RecordId(caller.user)], use=Use.SECURITY)[0]
    except FailedPrecondition:  # the user was erased, or is being erased
        return False
    if session is None or user is None or not isinstance(user.content, User):
        return False
    is_same = user.content.state is UserState.ACTIVE and authority(user.content) == caller.authority
    return is_same and not is_due(session.content.expires_at, now=now)


def _judged(
    holding: Holding, call: Call, email: str, password: str, *, passwords: Passwords, issuer: Issuer
) -> SignedIn | None:
    claim, now = _claimed(holding, call, email), issuer.wall()
    credential = claim.credential.content
    is_right = passwords.is_right(password, credential.password_hash)
    if claim.user is None or not is_right or not may_try(credential, now=now):
        failed = Draft(fail(credential, now=now), root=claim.credential.root, over=claim.credential)
        holding.repository.add([failed], act=holding.act(claim.call, detail={"outcome": "refused"}))
        return None
    renewed = passwords.renewed(password) if passwords.is_outdated(credential.password_hash) else None
    proved = attrs.evolve(credential, failures=0, failed_at="", password_hash=renewed or credential.password_hash)
    session = _next_session(holding, claim.call, claim.user, now)
    drafts, expects = [session], (Expected(id=claim.credential.id, version=claim.credential.version),)
    if proved != credential:  # else nothing is to be told to the journal, and nobody waits for it to sign in
        drafts.append(Draft(proved, root=claim.credential.root, over=claim.credential))
    opened, *_ = holding.repository.add(drafts, act=holding.act(claim.call, expects=expects))
    holding.shown(claim.call, [claim.user])
    return SignedIn(token=issuer.token(_caller(claim.user, opened), now=now), expires=now + LIFETIME, user=claim.user)


def _claimed(holding: Holding, call: Call, email: str) -> _Claim:
    account = kept_account(holding, call, closed=True)
    call = call if account is not None else inside(call, NOBODY)
    user = user_with(holding, call, email)
    if user is None or (account is not None and not _may_enter(user.content, account.content)):
        user = None
        call = inside(call, NOBODY)
    name = user.id if user is not None else _nobody(holding, email)
    return _Claim(call=call, user=user, credential=kept_credential(holding, call, name))


def _may_enter(user: User, account: TenantAccount) -> bool:
    """Tell whether the door is open to a user: of a closed tenant, to its super administrators."""
    return account.state is TenantState.ACTIVE or user.role is Role.SUPER_ADMINISTRATOR


def _nobody(holding: Holding, email: str) -> str:
    digest = hmac.digest(holding.vault.tenant(NOBODY).tokens, b"nobody\0" + email.encode(), "sha256")
    return f"u{digest[0] % _NOBODIES:02}"


def _next_session(holding: Holding, call: Call, user: Kept[User], now: datetime) -> Draft:
    """Take up a session of the user that has ended, or make one: as many are kept as were ever open at once."""
    where = Where(tenant=call.within(), kinds=("session",), roots=(user.id,))
    kept = holding.repository.select(where, use=call.use, limit=_MOST_SESSIONS).records
    ended = next((each for each in kept if is_due(each.content.expires_at, now=now)), None)
    name = ended.content.id if ended is not None else holding.new_id("s")
    content = Session(id=name, user=user.id, expires_at=written(now + LIFETIME))
    return Draft(content, root=user.id, over=ended)


def _caller(user: Kept[User], session: Kept[Session]) -> UserCaller:
    # Each taking up of a session is a version of its record, so that both together name the one this token is for.
    return UserCaller(
        tenant=user.tenant,
        user=user.id,
        authority=authority(user.content),
        session=f"{session.id}.{session.version}",
    )


def _session(holding: Holding, caller: UserCaller) -> Kept[Session] | None:
    name, _, version = caller.session.rpartition(".")
    kept = holding.repository.read(caller.tenant, [RecordId(name)], use=Use.SECURITY)[0]
    if kept is None or kept.trash is not None or not isinstance(kept.content, Session):
        return None
    return kept if kept.content.user == caller.user and str(kept.version) == version else None
