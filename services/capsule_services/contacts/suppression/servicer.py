"""Suppression on the wire."""

from __future__ import annotations

import attrs
import grpc

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_services.contacts.suppression import handlers
from capsule_services.contacts.suppression.convert import identifier_from
from capsule_services.runtime.calls import current_call
from capsule_services.runtime.holding import Holding

__all__ = ["SuppressionServicer"]


@attrs.define(slots=False)
class SuppressionServicer:
    """Answers who wants somebody back that wants to come."""

    holding: Holding

    def LiftSuppression(
        self, request: pb.LiftSuppressionRequest, context: grpc.ServicerContext
    ) -> pb.LiftSuppressionResponse:
        call, (form, value) = current_call(), identifier_from(request)
        known = self.holding.recognised(call, request)
        handlers.lift(self.holding, call, form, value, evidence=request.evidence, request=known)
        return pb.LiftSuppressionResponse()
