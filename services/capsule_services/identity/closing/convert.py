"""Closings, of the wire and of the domain."""

from __future__ import annotations

from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_core.closing import Ground, Remaining
from capsule_core.errors import InvalidField
from capsule_services.identity.names import parsed_user
from capsule_services.runtime.holders.convert import moment_from

__all__ = ["retention_from"]


def retention_from(message: pb.Retention, *, field: str = "retention") -> Remaining:
    """Read a ground.

    Raises:
        InvalidField: it is none of the eight, or has no end.
    """
    if message.ground not in pb.Retention.Ground.values() or message.ground == pb.Retention.GROUND_UNSPECIFIED:
        raise InvalidField(f"{field}.ground", "must be one of the eight grounds of this contract")
    if not message.HasField("expire_time"):
        raise InvalidField(f"{field}.expire_time", "is required: there is no ground without an end")
    return Remaining(
        ground=Ground[pb.Retention.Ground.Name(message.ground)],
        until=moment_from(message.expire_time, f"{field}.expire_time").isoformat(),
        user=parsed_user(message.user, field=f"{field}.user") if message.user else "",
    )
