"""Everything the contacts service answers, put together from its capabilities."""

from __future__ import annotations

import attrs

from capsule_api.contacts.v1 import contacts_pb2_grpc
from capsule_services.contacts.book.servicer import BookServicer
from capsule_services.contacts.bulk.servicer import BulkServicer
from capsule_services.contacts.disposal.servicer import DisposalServicer
from capsule_services.contacts.exchange.servicer import ExchangeServicer
from capsule_services.contacts.history.servicer import HistoryServicer
from capsule_services.contacts.holds.servicer import HoldsServicer
from capsule_services.contacts.lists.servicer import ListsServicer
from capsule_services.contacts.retention.servicer import RetentionServicer
from capsule_services.contacts.suppression.servicer import SuppressionServicer

__all__ = ["ContactsServicer"]


@attrs.define(slots=False)
class ContactsServicer(
    BookServicer,
    BulkServicer,
    HistoryServicer,
    ExchangeServicer,
    DisposalServicer,
    HoldsServicer,
    ListsServicer,
    RetentionServicer,
    SuppressionServicer,
    contacts_pb2_grpc.ContactsServiceServicer,
):
    """One servicer of nine capabilities; each brings the methods it answers and the fields it needs."""
