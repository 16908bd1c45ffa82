"""Who is there: the tenant that a call is about, the user it means, and the one who calls, as they are now."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import attrs

from capsule_core.errors import (
    CapsuleError,
    IdentifierTaken,
    ResourceMissing,
    SubjectErased,
    TenantClosed,
    Unauthenticated,
    VersionMismatch,
)
from capsule_core.index import query_token
from capsule_core.kept import Kept
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.personal import Form
from capsule_core.records import Expected, Mark, Where
from capsule_core.repository import Draft
from capsule_core.roles import require
from capsule_core.tenancy import MANAGE, Credential, Roster, TenantAccount, TenantState, User, UserState, authority
from capsule_services.runtime.calls import Call
from capsule_services.runtime.etags import Etag
from capsule_services.runtime.holding import Holding

__all__ = [
    "NOBODY",
    "as_is",
    "credential_id",
    "email_claimed",
    "inside",
    "kept_account",
    "kept_credential",
    "kept_roster",
    "kept_user",
    "managing_user",
    "require_etag",
    "roster_drafts",
    "roster_id",
    "settled",
    "user_with",
]

T = TypeVar("T")

NOBODY: Final = TenantId("nobody")
"""The tenant of those who are not there; no id that the server makes is like it."""

_TRIES: Final = 16


def inside(call: Call, tenant: TenantId) -> Call:
    """Return a call of anyone's, which names no tenant, as one about *tenant*."""
    return attrs.evolve(call, tenant=tenant)


def settled(decide: Callable[[], T]) -> T:
    """Return what *decide* comes to, on fresh facts each time somebody else was faster.

    Raises:
        VersionMismatch: others were faster many times, or the etag sent is not the current one.
    """
    for _ in range(_TRIES - 1):
        try:
            return decide()
        except VersionMismatch:
            continue
    return decide()


def kept_account(holding: Holding, call: Call, *, closed: bool = False) -> Kept[TenantAccount] | None:
    """Return the account of the tenant a call is about; None if there is none in use, or a *closed* one if asked for.

    Anyone may name any tenant: nothing may ask for the keys of one that is not there, or they would be made.
    """
    try:
        kept = holding.repository.read(call.within(), [RecordId(call.within())], use=call.use)[0]
    except (SubjectErased, TenantClosed):
        return None
    if kept is None or not isinstance(kept.content, TenantAccount):
        return None
    return kept if closed or kept.content.state is TenantState.ACTIVE else None


def kept_user(holding: Holding, call: Call, user: str) -> Kept[User]:
    """Return a user of the tenant.

    Raises:
        ResourceMissing: there is none of that id.
        SubjectErased: there was, and they were removed.
    """
    kept = holding.repository.read(call.within(), [RecordId(user)], use=call.use)[0]
    if kept is None or not isinstance(kept.content, User):
        raise _missing(holding, call, user)
    return kept


def managing_user(holding: Holding, call: Call) -> Kept[User]:
    """Return the user who calls, as they are now, whatever their token says; they must be allowed to manage users.

    Raises:
        Unauthenticated: they are not a user any more.
        PermissionDenied: they may not manage users any more.
    """
    kept = holding.repository.read(call.within(), [RecordId(call.user().user)], use=call.use)[0]
    if kept is None or not isinstance(kept.content, User) or kept.content.state is not UserState.ACTIVE:
        raise Unauthenticated
    require(authority(kept.content), MANAGE)
    return kept


def user_with(holding: Holding, call: Call, email: str) -> Kept[User] | None:
    """Return the user who signs in with *email*, in any spelling."""
    token = query_token(holding.vault.tenant(call.within()), "email", Form.EMAIL, email, region=None)
    where = Where(tenant=call.within(), kinds=("user",), tokens=(token,))
    found = holding.repository.select(where, use=call.use, limit=1).records
    return found[0] if found and found[0].content.state is UserState.ACTIVE else None


def kept_roster(holding: Holding, call: Call) -> Kept[Roster]:
    """Return the roster of the tenant: it is there as long as the tenant is."""
    return holding.repository.get(call.within(), roster_id(call.within()), use=call.use, resource="tenant")


def kept_credential(holding: Holding, call: Call, user: str) -> Kept[Credential]:
    """Return what a user proves themselves with."""
    return holding.repository.get(call.within(), credential_id(user), use=call.use, resource="user")


def roster_id(tenant: TenantId) -> RecordId:
    """Return the id of a tenant's roster: there is one."""
    return RecordId(f"r{tenant[1:]}")


def credential_id(user: str) -> RecordId:
    """Return the id of a user's credential: there is one."""
    return RecordId(f"k{user[1:]}")


def as_is(kept: Kept[Any]) -> tuple[Expected, ...]:
    """Expect *kept* to be unchanged when the act is done that was decided by it."""
    return (Expected(id=kept.id, version=kept.version),)


def roster_drafts(kept: Kept[Roster], listed: Roster) -> list[Draft]:
    """Return what keeps the roster as it is *listed* now: nothing, if it was before."""
    return [] if listed == kept.content else [Draft(listed, root=kept.root, at=kept.at, over=kept)]


def require_etag(kept: Kept[Any], etag: Etag | None) -> None:
    """Refuse an etag that is not the current one; none asks for no check (AIP-154)."""
    if etag is not None and etag != Etag(kept.version, kept.trash is not None):
        raise VersionMismatch


@contextmanager
def email_claimed() -> Generator[None]:
    """Say that the e-mail address is taken, where a store knows only that some identifier is."""
    try:
        yield
    except IdentifierTaken:
        raise IdentifierTaken("user", "email") from None


def _missing(holding: Holding, call: Call, user: str) -> CapsuleError:
    subject = holding.repository.store.subjects(call.within(), [SubjectKey(user)])[0]
    if subject is not None and subject.marks & (Mark.FENCED | Mark.ERASED):
        return SubjectErased()
    return ResourceMissing("user")
