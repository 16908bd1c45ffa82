"""Whether the customer data of a closed tenant may be destroyed: identity knows, for it decides about reopening."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from capsule_api.identity.v1 import identity_pb2, identity_pb2_grpc
from capsule_core.names import TenantId
from capsule_services.runtime.channels import Peers
from capsule_services.runtime.faults import telling

__all__ = ["permitted_by_identity"]


def permitted_by_identity(peers: Peers) -> Callable[[TenantId, datetime], bool]:
    """Make what asks, for a tenant and its closing; while identity does not answer, nothing is begun."""

    def permitted(tenant: TenantId, closed: datetime) -> bool:
        request = identity_pb2.DissolveTenantRequest(name=f"tenants/{tenant}")
        request.close_time.FromDatetime(closed)
        with telling():
            stub = identity_pb2_grpc.IdentityServiceStub(peers.channel("identity"))
            return stub.DissolveTenant(request).allowed

    return permitted
