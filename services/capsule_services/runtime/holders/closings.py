"""Closings as whoever runs a deployment is told of them: on the wire, and as asked of its running services."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from capsule_api.holder.v1 import holder_pb2 as pb
from capsule_api.holder.v1 import holder_pb2_grpc
from capsule_api.identity.v1 import identity_pb2, identity_pb2_grpc
from capsule_core.closing import Closing, Ground, account_until, closed, reopen_until
from capsule_core.names import TenantId
from capsule_core.obstacles import Obstacle
from capsule_core.records import Mark
from capsule_services.runtime.channels import Peers
from capsule_services.runtime.faults import telling

__all__ = ["Closed", "Kept", "closed_to", "closings_at", "retained"]

_KINDS: Final = {
    Mark.HELD: pb.Obstacle.HOLD,
    Mark.OBLIGED: pb.Obstacle.OBLIGATION,
    Mark.RESTRICTED: pb.Obstacle.RESTRICTION,
}


@attrs.frozen(kw_only=True)
class Kept:
    """A ground on record: why, until when, and which user's data, or all of the account's if none is named."""

    ground: str
    until: datetime
    user: str = ""


@attrs.frozen(kw_only=True)
class Closed:
    """A tenant that is closed, as one *service* tells."""

    service: str
    tenant: str
    closed: datetime
    reopen_until: datetime
    account_until: datetime
    begun: datetime | None
    obstacles: tuple[Obstacle, ...]
    grounds: tuple[Kept, ...]


def closed_to(tenant: TenantId, closing: Closing, found: Sequence[Obstacle]) -> pb.CollectClosingsResponse:
    """Write a closing and what stands in its way."""
    message = pb.CollectClosingsResponse(tenant=f"tenants/{tenant}")
    message.close_time.FromDatetime(closed(closing))
    message.reopen_expire_time.FromDatetime(reopen_until(closing))
    message.account_expire_time.FromDatetime(account_until(closing))
    if closing.begun_at:
        message.begin_time.FromDatetime(datetime.fromisoformat(closing.begun_at))
    for obstacle in found:
        told = message.obstacles.add(kind=_KINDS[obstacle.mark], records=obstacle.records)
        if obstacle.since is not None:
            told.since_time.FromDatetime(obstacle.since)
    for each in closing.grounds:
        user = f"tenants/{tenant}/users/{each.user}" if each.user else ""
        message.remainings.add(ground=each.ground.name, user=user).expire_time.FromDatetime(
            datetime.fromisoformat(each.until)
        )
    return message


def closings_at(peers: Peers, service: str) -> Iterator[Closed]:
    """Ask a running service which tenants are closed.

    Raises:
        Unavailable: it does not run, or does not answer.
    """
    with telling():
        stub = holder_pb2_grpc.HolderServiceStub(peers.channel(service))
        for message in stub.CollectClosings(pb.CollectClosingsRequest()):
            yield _closed(service, message)


def retained(peers: Peers, tenant: str, ground: Ground, *, until: datetime, user: str, request_id: str) -> list[Kept]:
    """Have identity put a ground on record; return all that are.

    Raises:
        ResourceMissing: there is no such tenant, or it never was closed.
        TenantClosed: nothing of it is left.
        Unavailable: identity does not run.
    """
    name = f"tenants/{tenant}"
    retention = identity_pb2.Retention(
        ground=identity_pb2.Retention.Ground.Value(ground.name), user=f"{name}/users/{user}" if user else ""
    )
    retention.expire_time.FromDatetime(until)
    request = identity_pb2.RetainTenantRequest(name=name, retention=retention, request_id=request_id)
    with telling():
        answer = identity_pb2_grpc.IdentityServiceStub(peers.channel("identity")).RetainTenant(request)
    return [
        _kept(identity_pb2.Retention.Ground.Name(each.ground), each.expire_time, each.user)
        for each in answer.retentions
    ]


def _closed(service: str, message: pb.CollectClosingsResponse) -> Closed:
    return Closed(
        service=service,
        tenant=message.tenant.removeprefix("tenants/"),
        closed=_time(message.close_time),
        reopen_until=_time(message.reopen_expire_time),
        account_until=_time(message.account_expire_time),
        begun=_time(message.begin_time) if message.HasField("begin_time") else None,
        obstacles=tuple(map(_obstacle, message.obstacles)),
        grounds=tuple(_kept(each.ground, each.expire_time, each.user) for each in message.remainings),
    )


def _obstacle(message: pb.Obstacle) -> Obstacle:
    mark = next(mark for mark, kind in _KINDS.items() if kind == message.kind)
    since = _time(message.since_time) if message.HasField("since_time") else None
    return Obstacle(mark=mark, records=message.records, since=since)


def _kept(ground: str, until: Any, user: str) -> Kept:
    return Kept(ground=ground.lower(), until=_time(until), user=user.rpartition("/")[2])


def _time(stamp: Any) -> datetime:
    moment: datetime = stamp.ToDatetime(tzinfo=UTC)
    return moment
