"""The address book's methods on the wire."""

from __future__ import annotations

import base64

import attrs
import grpc

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.contacts import Contact
from capsule_core.kept import Kept, Listing
from capsule_services.contacts.book import handlers
from capsule_services.contacts.book.convert import changed_from, contact_from, contact_to
from capsule_services.contacts.bulk.convert import stale_from
from capsule_services.contacts.names import parsed_contact, parsed_photo, parsed_user
from capsule_services.runtime.calls import Call, current_call
from capsule_services.runtime.etags import parsed_etag
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.masks import updated
from capsule_services.runtime.paging import Paging

__all__ = ["BookServicer"]


@attrs.define(slots=False)
class BookServicer:
    """Answers what concerns contacts themselves."""

    holding: Holding
    paging: Paging

    def CreateContact(self, request: pb.CreateContactRequest, context: grpc.ServicerContext) -> pb.Contact:
        call = current_call()
        known = self.holding.recognised(call, request)
        return self._answer(call, handlers.create(self.holding, call, contact_from(request.contact), known))

    def GetContact(self, request: pb.GetContactRequest, context: grpc.ServicerContext) -> pb.Contact:
        call = current_call()
        kept, has_photo = handlers.get(self.holding, call, parsed_contact(request.name))
        return contact_to(kept, has_photo=has_photo)

    def ListContacts(self, request: pb.ListContactsRequest, context: grpc.ServicerContext) -> pb.ListContactsResponse:
        call, window = current_call(), self.paging.window(current_call(), request)
        listing = handlers.list_contacts(
            self.holding, call, _filters(request), show_deleted=request.show_deleted, window=window
        )
        contacts = self._answers(call, listing)
        return pb.ListContactsResponse(
            contacts=contacts, next_page_token=self.paging.token(call, request, listing.after)
        )

    def SearchContacts(
        self, request: pb.SearchContactsRequest, context: grpc.ServicerContext
    ) -> pb.SearchContactsResponse:
        call, window = current_call(), self.paging.window(current_call(), request)
        by = handlers.Lookup(email=request.email, phone=request.phone, name_prefix=request.name_prefix)
        listing = handlers.find(self.holding, call, by, window=window)
        contacts = self._answers(call, listing)
        return pb.SearchContactsResponse(
            contacts=contacts, next_page_token=self.paging.token(call, request, listing.after)
        )

    def UpdateContact(self, request: pb.UpdateContactRequest, context: grpc.ServicerContext) -> pb.Contact:
        call = current_call()

        def change(kept: Kept[Contact]) -> Contact:
            merged = updated(contact_to(kept), request.contact, request.update_mask, field="contact")
            return changed_from(merged, kept.content)

        contact = parsed_contact(request.contact.name, field="contact.name")
        tag = parsed_etag(request.contact.etag, field="contact.etag")
        known = self.holding.recognised(call, request)
        return self._answer(call, handlers.update(self.holding, call, contact, change, etag=tag, request=known))

    def DeleteContact(self, request: pb.DeleteContactRequest, context: grpc.ServicerContext) -> pb.Contact:
        call, contact, tag = current_call(), parsed_contact(request.name), parsed_etag(request.etag)
        known = self.holding.recognised(call, request)
        return self._answer(call, handlers.delete(self.holding, call, contact, etag=tag, request=known))

    def UndeleteContact(self, request: pb.UndeleteContactRequest, context: grpc.ServicerContext) -> pb.Contact:
        call, contact, tag = current_call(), parsed_contact(request.name), parsed_etag(request.etag)
        known = self.holding.recognised(call, request)
        return self._answer(call, handlers.undelete(self.holding, call, contact, etag=tag, request=known))

    def GetPhoto(self, request: pb.GetPhotoRequest, context: grpc.ServicerContext) -> pb.Photo:
        kept = handlers.get_photo(self.holding, current_call(), parsed_photo(request.name))
        return pb.Photo(
            name=request.name, media_type=kept.content.media_type, content=base64.b64decode(kept.content.data)
        )

    def _answer(self, call: Call, kept: Kept[Contact]) -> pb.Contact:
        return contact_to(kept, has_photo=kept.id in handlers.with_photo(self.holding, call, [kept]))

    def _answers(self, call: Call, listing: Listing) -> list[pb.Contact]:
        having = handlers.with_photo(self.holding, call, listing.records)
        return [contact_to(kept, has_photo=kept.id in having) for kept in listing.records]


def _filters(request: pb.ListContactsRequest) -> handlers.Filters:
    owner = parsed_user(request.owner, field="owner")
    stale = stale_from(request.stale)
    return handlers.Filters(owner=owner, tag=request.tag, organisation=request.organisation, stale=stale)
