"""Letting in again who was erased as a user, by their own new consent."""

from __future__ import annotations

from capsule_core.answers import Request
from capsule_core.personal import Form
from capsule_core.readmission import readmit
from capsule_services.identity.presence import as_is, managing_user
from capsule_services.runtime.calls import Call
from capsule_services.runtime.holding import Holding

__all__ = ["lift"]


def lift(holding: Holding, call: Call, email: str, *, evidence: str, request: Request | None) -> None:
    """Let an e-mail address be invited again.

    Raises:
        InvalidField: it is none, or nothing says on which consent.
        ResourceMissing: it is not suppressed.
    """
    store, identifiers = holding.repository.store, holding.repository.identifiers
    act = holding.act(call, expects=as_is(managing_user(holding, call)))
    readmit(store, identifiers, Form.EMAIL, email, evidence=evidence, act=act, request=request)
