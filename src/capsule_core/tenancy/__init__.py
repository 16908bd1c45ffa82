"""A customer's account and the people who sign in to it: what is kept on them, and who may change what."""

from __future__ import annotations

from capsule_core.tenancy._moments import is_due, written
from capsule_core.tenancy.accounts import (
    PURPOSE,
    Credential,
    Invitation,
    PaymentMethod,
    Roster,
    Session,
    TenantAccount,
    TenantState,
    User,
    UserState,
)
from capsule_core.tenancy.attempts import MOST_FAILURES, fail, may_try
from capsule_core.tenancy.documents import Acceptance, Document, DocumentKind, agree, current, to_accept
from capsule_core.tenancy.membership import (
    INVITATION_LIFE,
    MANAGE,
    accept,
    appoint,
    authority,
    dismiss,
    found,
    invite,
    may_manage,
)

__all__ = [
    "INVITATION_LIFE",
    "MANAGE",
    "MOST_FAILURES",
    "PURPOSE",
    "Acceptance",
    "Credential",
    "Document",
    "DocumentKind",
    "Invitation",
    "PaymentMethod",
    "Roster",
    "Session",
    "TenantAccount",
    "TenantState",
    "User",
    "UserState",
    "accept",
    "agree",
    "appoint",
    "authority",
    "current",
    "dismiss",
    "fail",
    "found",
    "invite",
    "is_due",
    "may_manage",
    "may_try",
    "to_accept",
    "written",
]
