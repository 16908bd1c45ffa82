"""Erasures on the wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
import grpc

from capsule_api.privacy.v1 import privacy_pb2 as pb
from capsule_core.checkpoints import Signer
from capsule_core.errors import InvalidField
from capsule_core.holder import Holder
from capsule_core.receipts import Receipt, verify
from capsule_services.privacy.erasures import handlers
from capsule_services.privacy.erasures.convert import erasure_name, erasure_to, parsed_erasure, reported
from capsule_services.runtime.calls import current_call
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.paging import Paging

__all__ = ["ErasuresServicer"]


@attrs.define(slots=False)
class ErasuresServicer:
    """Answers what concerns erasures; *key_of* gives the public key of a holder by its name."""

    holding: Holding
    paging: Paging
    holders: Mapping[str, Holder]
    key_of: Callable[[str], str]
    signer: Signer

    def ReportErasure(self, request: pb.ReportErasureRequest, context: grpc.ServicerContext) -> pb.Erasure:
        told = Receipt.decode(request.receipt)
        if (parsed_erasure(request.name), *request.subjects) != reported(told):
            raise InvalidField("receipt", "is not of the erasure and the subjects that are reported")
        verify(told, self.key_of(told.statement.service))
        return erasure_to(handlers.report(self.holding, current_call(), told, self.holders, self.signer))

    def GetErasure(self, request: pb.GetErasureRequest, context: grpc.ServicerContext) -> pb.Erasure:
        return erasure_to(handlers.get(self.holding, current_call(), parsed_erasure(request.name)))

    def ListErasures(self, request: pb.ListErasuresRequest, context: grpc.ServicerContext) -> pb.ListErasuresResponse:
        call = current_call()
        listing = handlers.list_erasures(self.holding, call, self.paging.window(call, request))
        token = self.paging.token(call, request, listing.after)
        return pb.ListErasuresResponse(erasures=map(erasure_to, listing.records), next_page_token=token)

    def GetReceipt(self, request: pb.GetReceiptRequest, context: grpc.ServicerContext) -> pb.Receipt:
        call, erasure = current_call(), parsed_erasure(request.name)
        found = handlers.receipt(self.holding, call, erasure, self.signer)
        return pb.Receipt(name=f"{erasure_name(call.within(), erasure)}/receipt", document=found.document)
