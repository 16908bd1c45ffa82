"""Everything the identity service answers, put together from its capabilities."""

from __future__ import annotations

import attrs

from capsule_services.identity.closing.servicer import ClosingServicer
from capsule_services.identity.invitations.servicer import InvitationsServicer
from capsule_services.identity.sessions.servicer import SessionsServicer
from capsule_services.identity.suppression.servicer import SuppressionServicer
from capsule_services.identity.tenants.servicer import TenantsServicer
from capsule_services.identity.unsubscribes.servicer import UnsubscribesServicer
from capsule_services.identity.users.servicer import UsersServicer

__all__ = ["IdentityServicer"]


@attrs.define(slots=False, kw_only=True)
class IdentityServicer(
    TenantsServicer,
    UsersServicer,
    InvitationsServicer,
    SessionsServicer,
    SuppressionServicer,
    ClosingServicer,
    UnsubscribesServicer,
):
    """One servicer of seven capabilities; each brings the methods it answers and the fields it needs."""
