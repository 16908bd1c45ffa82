"""Imports, exports and print summaries on the wire."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import grpc

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.errors import InvalidField
from capsule_services.contacts.bulk.convert import stale_from
from capsule_services.contacts.exchange import handlers
from capsule_services.contacts.exchange.convert import data_of, form_of, incoming_from, records_to, report_to
from capsule_services.contacts.names import parsed_contact, parsed_list
from capsule_services.runtime.calls import current_call
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.packing import carried
from capsule_services.runtime.paging import Paging

__all__ = ["ExchangeServicer"]


@attrs.define(slots=False)
class ExchangeServicer:
    """Answers what goes in and out by the file."""

    holding: Holding
    paging: Paging

    def ImportContacts(
        self, request_iterator: Iterator[pb.ImportContactsRequest], context: grpc.ServicerContext
    ) -> pb.ImportReport:
        call, opening = current_call(), next(request_iterator, pb.ImportContactsRequest())
        if opening.WhichOneof("part") != "header":
            raise InvalidField("header", "is what the first message must carry")
        incoming = incoming_from(opening.header, owner=call.actor.id, run=self.holding.new_id("r"))
        return report_to(handlers.import_contacts(self.holding, call, incoming, data_of(request_iterator)))

    def ExportContacts(
        self, request: pb.ExportContactsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.ExportContactsResponse]:
        call, form = current_call(), form_of(request.format)
        window = attrs.evolve(self.paging.window(call, request), limit=carried(request.page_size))
        named = parsed_list(request.contact_list, field="contact_list") if request.contact_list else ""
        only = handlers.Only(stale=stale_from(request.stale), contact_list=named)
        if form is None:
            for part in handlers.parts(self.holding, call, handlers.BESIDE, window, only):
                yield from records_to(call.within(), part, self.paging.token(call, request, part.after))
            return
        for piece in handlers.export_contacts(self.holding, call, form, window, only):
            token = self.paging.token(call, request, piece.after)
            yield pb.ExportContactsResponse(data=piece.data, next_page_token=token)

    def PrintContact(
        self, request: pb.PrintContactRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.PrintContactResponse]:
        for data in handlers.print_contact(self.holding, current_call(), parsed_contact(request.name)):
            yield pb.PrintContactResponse(data=data)
