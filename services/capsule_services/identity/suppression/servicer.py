"""Suppression on the wire."""

from __future__ import annotations

import attrs
import grpc

from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_services.identity.names import check_tenant
from capsule_services.identity.suppression import handlers
from capsule_services.runtime.calls import current_call
from capsule_services.runtime.holding import Holding

__all__ = ["SuppressionServicer"]


@attrs.define(slots=False, kw_only=True)
class SuppressionServicer:
    """Answers who wants somebody back that wants to come."""

    holding: Holding

    def LiftSuppression(
        self, request: pb.LiftSuppressionRequest, _: grpc.ServicerContext
    ) -> pb.LiftSuppressionResponse:
        check_tenant(request.parent, field="parent")
        call, known = current_call(), self.holding.recognised(current_call(), request)
        handlers.lift(self.holding, call, request.email, evidence=request.evidence, request=known)
        return pb.LiftSuppressionResponse()
