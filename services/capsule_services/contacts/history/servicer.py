"""The history's methods on the wire."""

from __future__ import annotations

import attrs
import grpc

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.contacts import Entry
from capsule_core.kept import Kept
from capsule_services.contacts.history import handlers
from capsule_services.contacts.history.convert import entry_from, entry_to
from capsule_services.contacts.names import parsed_contact, parsed_entry
from capsule_services.runtime.calls import current_call
from capsule_services.runtime.etags import parsed_etag
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.masks import updated
from capsule_services.runtime.paging import Paging

__all__ = ["HistoryServicer"]


@attrs.define(slots=False)
class HistoryServicer:
    """Answers what concerns the history of contacts."""

    holding: Holding
    paging: Paging

    def CreateEntry(self, request: pb.CreateEntryRequest, context: grpc.ServicerContext) -> pb.Entry:
        call, contact = current_call(), parsed_contact(request.parent, field="parent")
        entry = entry_from(request.entry, now=self.holding.now())
        return entry_to(handlers.create(self.holding, call, contact, entry, self.holding.recognised(call, request)))

    def GetEntry(self, request: pb.GetEntryRequest, context: grpc.ServicerContext) -> pb.Entry:
        contact, entry = parsed_entry(request.name)
        return entry_to(handlers.get(self.holding, current_call(), contact, entry))

    def ListEntries(self, request: pb.ListEntriesRequest, context: grpc.ServicerContext) -> pb.ListEntriesResponse:
        call, contact = current_call(), parsed_contact(request.parent, field="parent")
        window = self.paging.window(call, request)
        listing = handlers.list_entries(self.holding, call, contact, show_deleted=request.show_deleted, window=window)
        token = self.paging.token(call, request, listing.after)
        return pb.ListEntriesResponse(entries=map(entry_to, listing.records), next_page_token=token)

    def UpdateEntry(self, request: pb.UpdateEntryRequest, context: grpc.ServicerContext) -> pb.Entry:
        call = current_call()
        contact, entry = parsed_entry(request.entry.name, field="entry.name")

        def change(kept: Kept[Entry]) -> Entry:
            merged = updated(entry_to(kept), request.entry, request.update_mask, field="entry")
            fresh, held = entry_from(merged, now=self.holding.now()), kept.content
            return attrs.evolve(fresh, id=held.id, contact=held.contact, author=held.author)

        tag, known = parsed_etag(request.entry.etag, field="entry.etag"), self.holding.recognised(call, request)
        return entry_to(handlers.update(self.holding, call, contact, entry, change, etag=tag, request=known))

    def DeleteEntry(self, request: pb.DeleteEntryRequest, context: grpc.ServicerContext) -> pb.Entry:
        call, tag = current_call(), parsed_etag(request.etag)
        contact, entry = parsed_entry(request.name)
        known = self.holding.recognised(call, request)
        return entry_to(handlers.delete(self.holding, call, contact, entry, etag=tag, request=known))

    def UndeleteEntry(self, request: pb.UndeleteEntryRequest, context: grpc.ServicerContext) -> pb.Entry:
        call, tag = current_call(), parsed_etag(request.etag)
        contact, entry = parsed_entry(request.name)
        known = self.holding.recognised(call, request)
        return entry_to(handlers.undelete(self.holding, call, contact, entry, etag=tag, request=known))
