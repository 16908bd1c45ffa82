"""The operator's unsubscribe list on the wire."""

from __future__ import annotations

import attrs
import grpc

from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_services.identity.names import parsed_user
from capsule_services.identity.unsubscribes import handlers
from capsule_services.identity.users.convert import user_to
from capsule_services.runtime.calls import current_call
from capsule_services.runtime.holding import Holding

__all__ = ["UnsubscribesServicer"]


@attrs.define(slots=False, kw_only=True)
class UnsubscribesServicer:
    """Answers who wants no marketing mail, and who wants it after all."""

    holding: Holding

    def UnsubscribeUser(self, request: pb.UnsubscribeUserRequest, _: grpc.ServicerContext) -> pb.User:
        call, user = current_call(), parsed_user(request.name)
        known = self.holding.recognised(call, request)
        return user_to(handlers.unsubscribe(self.holding, call, user, request=known))

    def ResubscribeUser(self, request: pb.ResubscribeUserRequest, _: grpc.ServicerContext) -> pb.User:
        call, user = current_call(), parsed_user(request.name)
        known = self.holding.recognised(call, request)
        return user_to(handlers.resubscribe(self.holding, call, user, evidence=request.evidence, request=known))

    def CheckAddresses(self, request: pb.CheckAddressesRequest, _: grpc.ServicerContext) -> pb.CheckAddressesResponse:
        return pb.CheckAddressesResponse(unsubscribed=handlers.check(self.holding, current_call(), request.emails))
