"""What of a closed tenant may be destroyed: identity knows, for it decides about reopening, and has the account."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from capsule_api.identity.v1 import identity_pb2, identity_pb2_grpc
from capsule_core.names import TenantId
from capsule_services.runtime.channels import Peers
from capsule_services.runtime.faults import telling

__all__ = ["ended_at_identity", "permitted_by_identity"]


def permitted_by_identity(peers: Peers) -> Callable[[TenantId, datetime], bool]:
    """Make what asks, for a tenant and its closing; while identity does not answer, nothing is begun."""

    def permitted(tenant: TenantId, closed: datetime) -> bool:
        return _asked(peers, tenant, closed).allowed

    return permitted


def ended_at_identity(peers: Peers) -> Callable[[TenantId, datetime], bool]:
    """Make what asks, likewise, whether identity has nothing of the tenant left: whoever keeps the proof goes last."""

    def ended(tenant: TenantId, closed: datetime) -> bool:
        return _asked(peers, tenant, closed).ended

    return ended


def _asked(peers: Peers, tenant: TenantId, closed: datetime) -> identity_pb2.DissolveTenantResponse:
    request = identity_pb2.DissolveTenantRequest(name=f"tenants/{tenant}")
    request.close_time.FromDatetime(closed)
    with telling():
        return identity_pb2_grpc.IdentityServiceStub(peers.channel("identity")).DissolveTenant(request)
