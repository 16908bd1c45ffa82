"""The closing of tenants on the wire."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import grpc

from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_services.identity.closing import convert, handlers
from capsule_services.identity.names import check_tenant
from capsule_services.identity.tenants.convert import retentions_to, tenant_to
from capsule_services.runtime.calls import current_call
from capsule_services.runtime.etags import parsed_etag
from capsule_services.runtime.holders.convert import moment_from
from capsule_services.runtime.holding import Holding

__all__ = ["ClosingServicer"]


def _nobody() -> None:
    return


@attrs.define(slots=False, kw_only=True)
class ClosingServicer:
    """Answers who gives an account up, or takes that back; *herald* is then to tell the other services."""

    holding: Holding
    herald: Callable[[], object] = _nobody

    def CloseTenant(self, request: pb.CloseTenantRequest, _: grpc.ServicerContext) -> pb.Tenant:
        check_tenant(request.name, field="name")
        call, known = current_call(), self.holding.recognised(current_call(), request)
        tag = parsed_etag(request.etag)
        kept = handlers.close(self.holding, call, confirm=request.confirm, etag=tag, request=known)
        self.herald()
        return tenant_to(handlers.account_of(self.holding, call), kept.content)

    def ReopenTenant(self, request: pb.ReopenTenantRequest, _: grpc.ServicerContext) -> pb.Tenant:
        check_tenant(request.name, field="name")
        call, known = current_call(), self.holding.recognised(current_call(), request)
        kept = handlers.reopen(self.holding, call, request=known)
        self.herald()
        return tenant_to(handlers.account_of(self.holding, call), None if kept is None else kept.content)

    def RetainTenant(self, request: pb.RetainTenantRequest, _: grpc.ServicerContext) -> pb.RetainTenantResponse:
        check_tenant(request.name, field="name")
        call, known = current_call(), self.holding.recognised(current_call(), request)
        kept = handlers.retain(self.holding, call, convert.retention_from(request.retention), request=known)
        return pb.RetainTenantResponse(retentions=retentions_to(call.within(), kept.content.grounds))

    def DissolveTenant(self, request: pb.DissolveTenantRequest, _: grpc.ServicerContext) -> pb.DissolveTenantResponse:
        check_tenant(request.name, field="name")
        closing = moment_from(request.close_time, "close_time")
        allowed = handlers.dissolve(self.holding, current_call(), closing)
        return pb.DissolveTenantResponse(allowed=allowed, ended=handlers.has_ended(self.holding, current_call()))
