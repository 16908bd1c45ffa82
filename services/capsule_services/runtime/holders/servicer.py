"""A service as a holder, on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import attrs
import grpc

from capsule_api.holder.v1 import holder_pb2 as pb
from capsule_api.holder.v1 import holder_pb2_grpc
from capsule_core import story
from capsule_core.checkpoints import Signer
from capsule_core.closing import KIND, is_closed
from capsule_core.closure import Closure
from capsule_core.errors import TenantClosed
from capsule_core.obstacles import obstacles
from capsule_core.story import Erasure
from capsule_services.runtime.calls import current_call
from capsule_services.runtime.holders import convert
from capsule_services.runtime.holders.closings import closed_to
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.packing import carried
from capsule_services.runtime.paging import Paging

__all__ = ["HolderServicer"]

_GROUND: Final = "erased_elsewhere"


@attrs.define(slots=False)
class HolderServicer(holder_pb2_grpc.HolderServiceServicer):
    """Answers what the privacy service asks and tells."""

    holding: Holding
    signer: Signer
    paging: Paging

    def About(self, request: pb.AboutRequest, context: grpc.ServicerContext) -> pb.AboutResponse:
        return convert.about_to(self.holding.holder.about(), signing_key=self.signer.verifier.text().encode())

    def Locate(self, request: pb.LocateRequest, context: grpc.ServicerContext) -> pb.LocateResponse:
        tenant = current_call().within()
        asked = [convert.identifier_from(each, f"identifiers[{at}]") for at, each in enumerate(request.identifiers)]
        found = self.holding.holder.locate(tenant, asked)
        self.holding.searched(current_call(), [match.subject for match in found])
        return pb.LocateResponse(matches=[convert.match_to(tenant, match) for match in found])

    def Collect(self, request: pb.CollectRequest, context: grpc.ServicerContext) -> Iterator[pb.CollectResponse]:
        call, tenant = current_call(), current_call().within()
        subjects = [convert.parsed_subject(name, f"subjects[{at}]") for at, name in enumerate(request.subjects)]
        going_on = self.paging.window(call, request).after
        together = carried(request.page_size) if request.page_size else 0
        self.holding.searched(call, subjects)
        for records, after in self.holding.holder.pages(tenant, subjects, after=going_on):
            token = self.paging.token(call, request, after)
            yield from convert.collections_to(tenant, records, together=together, token=token)
            call.last_look.forget()

    def Apply(self, request: pb.ApplyRequest, context: grpc.ServicerContext) -> pb.ApplyResponse:
        call, tenant = current_call(), current_call().within()
        subjects = [convert.parsed_subject(name, f"subjects[{at}]") for at, name in enumerate(request.subjects)]
        order, reason = convert.order_from(request.order), request.reason.rpartition("/")[2]
        done = self.holding.holder.apply(tenant, subjects, order, reason=reason, by=call.actor, now=self.holding.now())
        return pb.ApplyResponse(
            applied=[convert.subject_name(tenant, subject) for subject in done.applied],
            unknown=[convert.subject_name(tenant, subject) for subject in done.unknown],
        )

    def Erase(self, request: pb.EraseRequest, context: grpc.ServicerContext) -> pb.EraseResponse:
        tenant, erasure = convert.parsed_erasure(request.erasure)
        subjects = [convert.parsed_subject(name, f"subjects[{at}]") for at, name in enumerate(request.subjects)]
        now = self.holding.now()
        wanted = Erasure(
            tenant=tenant,
            id=erasure,
            subjects=tuple(subjects),
            ground=story.REQUEST if request.suppress else _GROUND,
            by=current_call().actor,
            requested=now,
            parts=True,
            suppresses=request.suppress,
        )
        return convert.done_to(self.holding.holder.erase(wanted, now=now))

    def Sweep(self, request: pb.SweepRequest, context: grpc.ServicerContext) -> pb.SweepResponse:
        now = self.holding.over()
        due = min(now, convert.moment_from(request.due_time, "due_time")) if request.HasField("due_time") else now
        swept = self.holding.holder.sweep(current_call().within(), now=due)
        return pb.SweepResponse(destroyed=swept.records, subjects=swept.subjects, held=swept.guarded)

    def Close(self, request: pb.CloseRequest, context: grpc.ServicerContext) -> pb.CloseResponse:
        call, closed = current_call(), convert.moment_from(request.close_time, "close_time")
        self.holding.holder.close(call.within(), closed=closed, by=call.actor, now=self.holding.now())
        return pb.CloseResponse()

    def CollectClosings(
        self, request: pb.CollectClosingsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.CollectClosingsResponse]:
        closings, store = Closure(self.holding.repository), self.holding.repository.store
        for tenant in store.having(KIND):
            with suppress(TenantClosed):  # nothing of it is left
                kept = closings.of(tenant, use=current_call().use)
                if kept is not None and is_closed(kept.content):
                    self.holding.searched(attrs.evolve(current_call(), tenant=tenant), [])
                    yield closed_to(tenant, kept.content, obstacles(store, tenant))

    def Reopen(self, request: pb.ReopenRequest, context: grpc.ServicerContext) -> pb.ReopenResponse:
        call, closed = current_call(), convert.moment_from(request.close_time, "close_time")
        self.holding.holder.reopen(call.within(), closed=closed, by=call.actor, now=self.holding.now())
        return pb.ReopenResponse()
