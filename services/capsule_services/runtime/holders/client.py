"""A holder at the other end of the wire, used like one in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import attrs
import grpc

from capsule_api.holder.v1 import holder_pb2 as pb
from capsule_api.holder.v1 import holder_pb2_grpc
from capsule_core.holder import About, Applied, Collected, Done, Identifier, Match, Order
from capsule_core.names import ActorRef, SubjectKey, TenantId
from capsule_core.receipts import verify
from capsule_core.repository import A_MESSAGE
from capsule_core.story import Erasure
from capsule_core.sweeping import Swept
from capsule_services.runtime.faults import telling
from capsule_services.runtime.holders import convert

__all__ = ["RemoteHolder"]


@attrs.frozen
class RemoteHolder:
    """A ``capsule_core.holder.Holder`` over a channel; *connect* gives one that works now.

    Its errors are the domain's. The other side says who acted (the calling service) and what time it is; a sweep gives
    counts, not receipts.
    """

    name: str
    _connect: Callable[[], grpc.Channel]

    def about(self) -> About:
        """Say who it is."""
        with telling():
            return convert.about_from(self._stub().About(pb.AboutRequest()))

    def public_key(self) -> str:
        """Return the key that its receipts are checked with, as the text of a C2SP vkey."""
        with telling():
            key = self._stub().About(pb.AboutRequest()).signing_key
        return key.decode("utf-8", "replace")  # what is no text is no key either

    def locate(self, tenant: TenantId, identifiers: Sequence[Identifier]) -> Sequence[Match]:
        """Find whom the identifiers name."""
        request = pb.LocateRequest(parent=f"tenants/{tenant}", identifiers=map(convert.identifier_to, identifiers))
        with telling():
            return [convert.match_from(match) for match in self._stub().Locate(request).matches]

    def collect(self, tenant: TenantId, subjects: Sequence[SubjectKey]) -> Iterator[Collected]:
        """Give everything that is kept on the subjects."""
        named = self._names(tenant, subjects)
        request = pb.CollectRequest(parent=f"tenants/{tenant}", subjects=named, page_size=A_MESSAGE)
        with telling():
            yield from convert.collected_from(self._stub().Collect(request))

    def apply(
        self,
        tenant: TenantId,
        subjects: Sequence[SubjectKey],
        order: Order,
        *,
        reason: str,
        by: ActorRef,
        now: datetime,
    ) -> Applied:
        """Carry out an order about the subjects, for the reason of that id."""
        request = pb.ApplyRequest(
            parent=f"tenants/{tenant}",
            subjects=self._names(tenant, subjects),
            order=convert.order_to(order),
            reason=convert.reason_name(tenant, reason),
        )
        with telling():
            answer = self._stub().Apply(request)
        return Applied(
            applied=tuple(convert.parsed_subject(name, "applied") for name in answer.applied),
            unknown=tuple(convert.parsed_subject(name, "unknown") for name in answer.unknown),
        )

    def erase(self, erasure: Erasure, *, now: datetime) -> Done:
        """Erase the subjects that are known."""
        name = f"tenants/{erasure.tenant}/erasures/{erasure.id}"
        subjects = self._names(erasure.tenant, erasure.subjects)
        request = pb.EraseRequest(erasure=name, subjects=subjects, suppress=erasure.suppresses)
        with telling():
            done = convert.done_from(self._stub().Erase(request))
        if done.receipt is not None:
            verify(done.receipt, self.public_key())
        return done

    def sweep(self, tenant: TenantId, *, now: datetime) -> Swept:
        """Destroy what is due."""
        request = pb.SweepRequest(parent=f"tenants/{tenant}")
        request.due_time.FromDatetime(now)
        with telling():
            answer = self._stub().Sweep(request)
        return Swept(records=answer.destroyed, subjects=answer.subjects, guarded=answer.held, receipts=())

    def close(self, tenant: TenantId, *, closed: datetime, by: ActorRef, now: datetime) -> None:
        """Tell that the tenant was closed, and when."""
        request = pb.CloseRequest(parent=f"tenants/{tenant}")
        request.close_time.FromDatetime(closed)
        with telling():
            self._stub().Close(request)

    def reopen(self, tenant: TenantId, *, closed: datetime, by: ActorRef, now: datetime) -> None:
        """Tell that a closing was taken back."""
        request = pb.ReopenRequest(parent=f"tenants/{tenant}")
        request.close_time.FromDatetime(closed)
        with telling():
            self._stub().Reopen(request)

    def _stub(self) -> holder_pb2_grpc.HolderServiceStub:
        return holder_pb2_grpc.HolderServiceStub(self._connect())

    @staticmethod
    def _names(tenant: TenantId, subjects: Sequence[SubjectKey]) -> list[str]:
        return [convert.subject_name(tenant, subject) for subject in subjects]
