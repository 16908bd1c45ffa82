"""Holds on the wire."""

from __future__ import annotations

import attrs
import grpc

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_services.contacts.holds import handlers
from capsule_services.contacts.holds.convert import hold_from, hold_to, resource_of
from capsule_services.contacts.names import parsed_contact, parsed_hold
from capsule_services.runtime.calls import current_call
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.paging import Paging

__all__ = ["HoldsServicer"]


@attrs.define(slots=False)
class HoldsServicer:
    """Answers what concerns holds."""

    holding: Holding
    paging: Paging

    def PlaceHold(self, request: pb.PlaceHoldRequest, context: grpc.ServicerContext) -> pb.Hold:
        call, hold, resource = current_call(), hold_from(request.hold), resource_of(request.hold)
        known = self.holding.recognised(call, request)
        return hold_to(handlers.place(self.holding, call, hold, resource=resource, request=known))

    def GetHold(self, request: pb.GetHoldRequest, context: grpc.ServicerContext) -> pb.Hold:
        return hold_to(handlers.get(self.holding, current_call(), parsed_hold(request.name)))

    def ListHolds(self, request: pb.ListHoldsRequest, context: grpc.ServicerContext) -> pb.ListHoldsResponse:
        call, window = current_call(), self.paging.window(current_call(), request)
        contact = parsed_contact(request.contact, field="contact") if request.contact else ""
        listing = handlers.list_holds(
            self.holding, call, contact=contact, show_released=request.show_released, window=window
        )
        token = self.paging.token(call, request, listing.after)
        return pb.ListHoldsResponse(holds=map(hold_to, listing.records), next_page_token=token)

    def ReleaseHold(self, request: pb.ReleaseHoldRequest, context: grpc.ServicerContext) -> pb.Hold:
        call, hold = current_call(), parsed_hold(request.name)
        known = self.holding.recognised(call, request)
        return hold_to(handlers.release(self.holding, call, hold, request=known))
