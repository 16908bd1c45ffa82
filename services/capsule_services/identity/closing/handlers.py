"""Closing a tenant: by its super administrators, and what other services ask and tell about it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import attrs

from capsule_core.answers import Request
from capsule_core.closing import Closing, Remaining, closed, is_closed, reopen_until
from capsule_core.closure import Closure
from capsule_core.errors import ConfirmationRequired, ResourceMissing, TenantClosed, VersionMismatch
from capsule_core.kept import Kept
from capsule_core.records import Mark, Shelf, Where
from capsule_core.repository import Draft
from capsule_core.tenancy import TenantAccount, TenantState
from capsule_services.identity.presence import kept_account, require_etag
from capsule_services.runtime.calls import Call
from capsule_services.runtime.etags import Etag
from capsule_services.runtime.holding import Holding

__all__ = ["account_of", "close", "dissolve", "has_ended", "reopen", "retain"]


def close(holding: Holding, call: Call, *, confirm: bool, etag: Etag | None, request: Request | None) -> Kept[Closing]:
    """Close the tenant: two clocks run from now on, and closing again moves neither.

    Raises:
        ConfirmationRequired: nobody said that it is meant.
        VersionMismatch: the account has changed since it was read.
        TenantClosed: it is closed for good.
    """
    if not confirm:
        raise ConfirmationRequired

    def beside() -> Sequence[Draft]:
        account = account_of(holding, call)
        require_etag(account, etag)
        return [_turned(account, TenantState.CLOSED)]

    return Closure(holding.repository).close(act=holding.act(call), request=request, beside=beside)


def reopen(holding: Holding, call: Call, *, request: Request | None) -> Kept[Closing] | None:
    """Take a closing back: nothing has changed but that it happened; None if the tenant never was closed.

    Raises:
        TenantClosed: it is too late.
    """

    def beside() -> Sequence[Draft]:
        return [_turned(account_of(holding, call), TenantState.ACTIVE)]

    try:
        return Closure(holding.repository).reopen(act=holding.act(call), request=request, beside=beside)
    except ResourceMissing:
        return None


def retain(holding: Holding, call: Call, remaining: Remaining, *, request: Request | None) -> Kept[Closing]:
    """Put a ground on record.

    Raises:
        ResourceMissing: there is no such tenant, or it never was closed.
        TenantClosed: it comes too late.
    """
    return Closure(holding.repository).record(remaining, act=holding.act(call), request=request)


def dissolve(holding: Holding, call: Call, closing: datetime) -> bool:
    """Say whether customer data may be destroyed for the *closing* of that moment; yes is for ever."""
    closure = Closure(holding.repository)
    try:
        kept = closure.of(call.within(), use=call.use)
    except TenantClosed:
        return True
    if kept is None or not is_closed(kept.content) or closed(kept.content) != closing:
        return False
    if kept.content.begun_at or holding.over() < reopen_until(kept.content):
        return bool(kept.content.begun_at)
    users = Where(tenant=call.within(), kinds=("user",), shelf=Shelf.ANY)
    people = {"user": holding.repository.store.count(users, admits=~Mark.NONE)}
    try:
        closure.begin(kept, people, act=holding.act(call))
    except VersionMismatch:
        return False  # it is being reopened, or somebody else asks: the next answer tells
    return True


def has_ended(holding: Holding, call: Call) -> bool:
    """Tell whether nothing of the tenant is left here, and its keys are destroyed."""
    return holding.vault.is_closed(call.within())


def account_of(holding: Holding, call: Call) -> Kept[TenantAccount]:
    """Return the account of the tenant, closed or not.

    Raises:
        ResourceMissing: it is gone.
    """
    account = kept_account(holding, call, closed=True)
    if account is None:
        raise ResourceMissing("tenant")
    return account


def _turned(account: Kept[TenantAccount], state: TenantState) -> Draft:
    content = attrs.evolve(account.content, state=state)
    return Draft(content, root=account.root, at=account.at, over=account)
