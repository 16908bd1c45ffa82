"""Tenants: opening one with its first super administrator, and what they have accepted."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

import attrs

from capsule_core.answers import Request
from capsule_core.closing import Closing
from capsule_core.closure import Closure
from capsule_core.errors import RequestReused, ResourceMissing
from capsule_core.kept import Kept
from capsule_core.names import RecordId, TenantId, encoded
from capsule_core.records import Cursor
from capsule_core.repository import Draft
from capsule_core.roles import allows
from capsule_core.tenancy import (
    Credential,
    Document,
    DocumentKind,
    TenantAccount,
    User,
    agree,
    current,
    found,
)
from capsule_services.identity.passwords import Passwords
from capsule_services.identity.presence import (
    NOBODY,
    credential_id,
    inside,
    kept_account,
    kept_credential,
    kept_user,
    roster_id,
)
from capsule_services.runtime.calls import Call
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.paging import Window

__all__ = ["Application", "Opened", "get", "list_documents", "sign_up"]


@attrs.frozen(kw_only=True)
class Application:
    """What somebody says who wants an account; *accepted* are the documents they agree to, by kind and version."""

    account: TenantAccount
    user: User
    password: str = attrs.field(repr=False)
    accepted: tuple[tuple[DocumentKind, str], ...]


@attrs.frozen(kw_only=True)
class Opened:
    """A new tenant and its super administrator."""

    account: Kept[TenantAccount]
    user: Kept[User]


def sign_up(
    holding: Holding,
    call: Call,
    application: Application,
    request: Request | None,
    *,
    passwords: Passwords,
    documents: Sequence[Document],
) -> Opened:
    """Open a tenant with its first super administrator, who has the right to export and to grant it.

    Raises:
        DocumentsOutdated: the current version of a document was not accepted.
        InvalidField: the password may not be chosen.
        RequestReused: the request id came with another request, the password included.
    """
    call = inside(call, _new_tenant(holding, request))
    if request and _is_taken(holding, call):
        return _opened_before(holding, call, application, request, passwords)
    account, user = _filled(holding, call, application, documents)
    about = (user.display_name, user.email, account.display_name)
    kept_hash = passwords.hashed(application.password, about=about, field="super_administrator.password")
    user, roster = found(user, roster_id(call.within()), account.id)
    credential = Credential(id=credential_id(user.id), user=user.id, password_hash=kept_hash)
    # The user goes first: the answer is kept under their key, and dies with it.
    drafts = [
        Draft(user),
        Draft(account),
        Draft(roster, root=RecordId(account.id)),
        Draft(credential, root=RecordId(user.id)),
    ]
    kept_user, kept_tenant, *_ = holding.repository.add(drafts, act=holding.act(call), request=request)
    return Opened(account=kept_tenant, user=kept_user)


def get(holding: Holding, call: Call) -> tuple[Kept[TenantAccount], Closing | None]:
    """Return the caller's tenant and its closing; how it is paid for is shown to those who manage it."""
    kept = kept_account(holding, call, closed=True)
    if kept is None:
        raise ResourceMissing("tenant")
    closing = Closure(holding.repository).of(call.within(), use=call.use)
    holding.shown(call, [kept])
    return _visible(kept, call), None if closing is None else closing.content


def _visible(kept: Kept[TenantAccount], call: Call) -> Kept[TenantAccount]:
    if allows(call.user().authority, "tenant.manage"):
        return kept
    return attrs.evolve(kept, content=attrs.evolve(kept.content, payment_method=None))


def list_documents(
    holding: Holding, documents: Sequence[Document], window: Window
) -> tuple[tuple[Document, ...], Cursor | None]:
    """List the documents in force, and where to go on; None after the last."""
    listed = current(documents, now=holding.now())
    if window.after is not None:
        kinds = [document.kind.value for document in listed]
        listed = listed[kinds.index(window.after.id) + 1 :] if window.after.id in kinds else ()
    if len(listed) <= window.limit:
        return listed, None
    last = listed[window.limit - 1]
    return listed[: window.limit], Cursor(last.effective, RecordId(last.kind.value))


def _new_tenant(holding: Holding, request: Request | None) -> TenantId:
    """Name the tenant by the request, if that can come again: it is where its answer is kept."""
    if request is None:
        return TenantId(holding.new_id("t"))
    named = f"tenant\0{request.method}\0{request.id}".encode()
    return TenantId("t" + encoded(hmac.digest(holding.vault.tenant(NOBODY).answers, named, "sha256")[:16]))


def _is_taken(holding: Holding, call: Call) -> bool:
    """Tell whether somebody has the tenant's id, or had it: one that was closed is never used again."""
    return kept_account(holding, call, closed=True) is not None or holding.vault.is_closed(call.within())


def _filled(
    holding: Holding, call: Call, application: Application, documents: Sequence[Document]
) -> tuple[TenantAccount, User]:
    user = attrs.evolve(application.user, id=holding.new_id("u"))
    accepted = agree(documents, application.accepted, user=user.id, now=holding.now())
    return attrs.evolve(application.account, id=call.within(), acceptances=accepted), user


def _opened_before(
    holding: Holding, call: Call, application: Application, request: Request, passwords: Passwords
) -> Opened:
    before = None if holding.vault.is_closed(call.within()) else holding.repository.answered(call.within(), request)
    if before is None:
        raise RequestReused
    user = kept_user(holding, call, before[0].id)
    # No hash of a password is ever kept but the slow one, so a repeated password is compared with that.
    if not passwords.is_right(application.password, kept_credential(holding, call, user.id).content.password_hash):
        raise RequestReused
    return Opened(account=before[1], user=before[0])
