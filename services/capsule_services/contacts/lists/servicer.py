"""Saved lists' methods on the wire."""

from __future__ import annotations

import attrs
import grpc

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.contacts import ContactList
from capsule_core.kept import Kept
from capsule_services.contacts.book.convert import contact_to
from capsule_services.contacts.book.handlers import with_photo
from capsule_services.contacts.bulk.convert import batch_from, stale_from
from capsule_services.contacts.lists import handlers
from capsule_services.contacts.lists.convert import counted, list_from, list_to, obstacle_to, skipped_to
from capsule_services.contacts.names import parsed_list
from capsule_services.contacts.rosters import on_list
from capsule_services.runtime.calls import current_call
from capsule_services.runtime.etags import parsed_etag
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.paging import Paging

__all__ = ["ListsServicer"]

_Entry = pb.ListListedContactsResponse.ListedContact


@attrs.define(slots=False)
class ListsServicer:
    """Answers what concerns saved lists."""

    holding: Holding
    paging: Paging

    def CreateContactList(self, request: pb.CreateContactListRequest, context: grpc.ServicerContext) -> pb.ContactList:
        call = current_call()
        wanted = list_from(request.contact_list, stale_from(request.contact_list.stale, field="contact_list.stale"))
        known = self.holding.recognised(call, request)
        return self._list(handlers.create(self.holding, call, wanted, request=known))

    def FillContactList(self, request: pb.FillContactListRequest, context: grpc.ServicerContext) -> pb.ContactList:
        call, name = current_call(), parsed_list(request.name)
        return self._list(handlers.fill(self.holding, call, name, request=self.holding.recognised(call, request)))

    def GetContactList(self, request: pb.GetContactListRequest, context: grpc.ServicerContext) -> pb.ContactList:
        return self._list(handlers.get(self.holding, current_call(), parsed_list(request.name)))

    def ListContactLists(
        self, request: pb.ListContactListsRequest, context: grpc.ServicerContext
    ) -> pb.ListContactListsResponse:
        call, window = current_call(), self.paging.window(current_call(), request)
        listing = handlers.list_lists(self.holding, call, show_deleted=request.show_deleted, window=window)
        token = self.paging.token(call, request, listing.after)
        return pb.ListContactListsResponse(contact_lists=map(self._list, listing.records), next_page_token=token)

    def ListListedContacts(
        self, request: pb.ListListedContactsRequest, context: grpc.ServicerContext
    ) -> pb.ListListedContactsResponse:
        call, window = current_call(), self.paging.window(current_call(), request)
        name = parsed_list(request.parent, field="parent")
        found = handlers.review(self.holding, call, name, window=window)
        records = found.listing.records
        having = with_photo(self.holding, call, records)
        told = zip(records, found.obstacles, strict=True)
        return pb.ListListedContactsResponse(
            listed_contacts=[
                _Entry(contact=contact_to(kept, has_photo=kept.id in having), obstacle=obstacle_to(obstacle))
                for kept, obstacle in told
            ],
            next_page_token=self.paging.token(call, request, found.listing.after),
        )

    def TrashListedContacts(
        self, request: pb.TrashListedContactsRequest, context: grpc.ServicerContext
    ) -> pb.TrashListedContactsResponse:
        call, name, batch = current_call(), parsed_list(request.name), batch_from(request.batch)
        known = self.holding.recognised(call, request)
        thrown = handlers.throw_away(self.holding, call, name, batch=batch, request=known)
        return pb.TrashListedContactsResponse(
            batch=thrown.batch,
            contacts=thrown.contacts,
            remaining=thrown.remaining,
            skipped=[skipped_to(call.within(), each) for each in thrown.skipped],
            counts=counted(thrown.counts),
        )

    def DeleteContactList(self, request: pb.DeleteContactListRequest, context: grpc.ServicerContext) -> pb.ContactList:
        call, name, tag = current_call(), parsed_list(request.name), parsed_etag(request.etag)
        known = self.holding.recognised(call, request)
        return self._list(handlers.delete(self.holding, call, name, etag=tag, request=known))

    def UndeleteContactList(
        self, request: pb.UndeleteContactListRequest, context: grpc.ServicerContext
    ) -> pb.ContactList:
        call, name, tag = current_call(), parsed_list(request.name), parsed_etag(request.etag)
        known = self.holding.recognised(call, request)
        return self._list(handlers.undelete(self.holding, call, name, etag=tag, request=known))

    def _list(self, kept: Kept[ContactList]) -> pb.ContactList:
        return list_to(kept, on_list(self.holding, kept))
