"""Purging on the wire."""

from __future__ import annotations

import attrs
import grpc

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_services.contacts.disposal import handlers
from capsule_services.contacts.names import parsed_contact
from capsule_services.runtime.calls import current_call
from capsule_services.runtime.etags import parsed_etag
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.reporter import Reporter

__all__ = ["DisposalServicer"]


@attrs.define(slots=False)
class DisposalServicer:
    """Answers what destroys at once; *reporter* then tells the privacy service."""

    holding: Holding
    reporter: Reporter

    def PurgeContact(self, request: pb.PurgeContactRequest, context: grpc.ServicerContext) -> pb.PurgeContactResponse:
        call, contact, tag = current_call(), parsed_contact(request.name), parsed_etag(request.etag)
        if request.validate_only:
            handlers.check_purge(
                self.holding, call, contact, confirm=request.confirm, suppress=request.suppress, etag=tag
            )
            return pb.PurgeContactResponse()
        known = self.holding.recognised(call, request)
        receipt = handlers.purge(
            self.holding, call, contact, confirm=request.confirm, suppress=request.suppress, etag=tag, request=known
        )
        self.reporter.wake()
        erasure = f"tenants/{call.within()}/erasures/{receipt.statement.erasure}"
        return pb.PurgeContactResponse(receipt=receipt.document, erasure=erasure)
