"""Many contacts at once, on the wire."""

from __future__ import annotations

import attrs
import grpc

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.errors import InvalidField
from capsule_services.contacts.bulk import handlers
from capsule_services.contacts.bulk.convert import batch_from, stale_from
from capsule_services.contacts.names import parsed_contact
from capsule_services.runtime.calls import current_call
from capsule_services.runtime.holding import Holding

__all__ = ["BulkServicer"]


@attrs.define(slots=False)
class BulkServicer:
    """Answers what concerns many contacts at once."""

    holding: Holding

    def TrashContacts(
        self, request: pb.TrashContactsRequest, context: grpc.ServicerContext
    ) -> pb.TrashContactsResponse:
        call, batch = current_call(), batch_from(request.batch)
        names = [parsed_contact(name, field=f"names[{place}]") for place, name in enumerate(request.names)]
        stale = stale_from(request.stale)
        known = self.holding.recognised(call, request)
        thrown = handlers.throw_away(self.holding, call, names, stale, batch=batch, request=known)
        return pb.TrashContactsResponse(batch=thrown.batch, contacts=thrown.contacts, remaining=thrown.remaining)

    def UndeleteBatch(
        self, request: pb.UndeleteBatchRequest, context: grpc.ServicerContext
    ) -> pb.UndeleteBatchResponse:
        call, batch = current_call(), batch_from(request.batch)
        if not batch:
            raise InvalidField("batch", "is required")
        records = handlers.take_back(self.holding, call, batch, request=self.holding.recognised(call, request))
        return pb.UndeleteBatchResponse(records=records)
