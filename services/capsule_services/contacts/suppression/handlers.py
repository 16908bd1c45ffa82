"""Letting in again who was erased, by their own new consent: it takes a permission of its own, and evidence."""

from __future__ import annotations

from capsule_core.answers import Request
from capsule_core.personal import Form
from capsule_core.readmission import readmit
from capsule_services.runtime.calls import Call
from capsule_services.runtime.holding import Holding

__all__ = ["lift"]


def lift(holding: Holding, call: Call, form: Form, value: str, *, evidence: str, request: Request | None) -> None:
    """Let an identifier come in again.

    Raises:
        InvalidField: it is none, or nothing says on which consent.
        ResourceMissing: it is not suppressed.
    """
    store, identifiers = holding.repository.store, holding.repository.identifiers
    readmit(store, identifiers, form, value, evidence=evidence, act=holding.act(call), request=request)
