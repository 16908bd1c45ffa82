"""Errors on the wire: a family of the domain becomes a code, its data one ErrorInfo (AIP-193), and back again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs
import grpc
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from capsule_core import errors
from capsule_core.errors import CapsuleError, InvalidField, Unavailable

__all__ = ["StartRefused", "code_of", "failure", "refusal", "understood"]

_FAMILIES: Final[Mapping[type[CapsuleError], grpc.StatusCode]] = {
    errors.Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DataLoss: grpc.StatusCode.DATA_LOSS,
}
_PASSING: Final = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class StartRefused(Exception):
    """A service cannot start; the text is one sentence that says what to do."""


def code_of(error: CapsuleError) -> grpc.StatusCode:
    """Return the code of the family that *error* belongs to."""
    for family, code in _FAMILIES.items():
        if isinstance(error, family):
            return code
    return grpc.StatusCode.INTERNAL


def refusal(error: CapsuleError, *, domain: str) -> grpc.Status:
    """Write *error* as a status with one ErrorInfo, and the field at fault if there is one."""
    details: list[Message] = [_info(error, domain)]
    if (field := error.metadata.get("field")) is not None and isinstance(error, errors.Invalid):
        description = error.problem if isinstance(error, InvalidField) else str(error)
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    return _status(code_of(error), str(error), details)


def failure(*, domain: str, error_id: str) -> grpc.Status:
    """Write that something unforeseen happened, and nothing about it but the id it is logged under."""
    details: list[Message] = [_info(CapsuleError(), domain), error_details_pb2.RequestInfo(request_id=error_id)]
    return _status(
        grpc.StatusCode.INTERNAL, "the service failed; its log has more under the id in RequestInfo", details
    )


def understood(error: grpc.RpcError) -> CapsuleError:
    """Read what another service answered back into the error it raised; what passes by itself is Unavailable."""
    status = rpc_status.from_call(error) if isinstance(error, grpc.Call) else None
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and (made := _restored(info)) is not None:
            return made
    code = error.code() if isinstance(error, grpc.Call) else None
    return Unavailable() if code in _PASSING else CapsuleError()


def _info(error: CapsuleError, domain: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=error.reason, domain=domain, metadata=error.metadata)


def _status(code: grpc.StatusCode, message: str, details: list[Message]) -> grpc.Status:
    status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=message)
    for detail in details:
        status.details.add().Pack(detail)
    return rpc_status.to_status(status)


def _restored(info: error_details_pb2.ErrorInfo) -> CapsuleError | None:
    for name in errors.__all__:
        kind: type[CapsuleError] = getattr(errors, name)
        if "reason" in vars(kind) and kind.reason == info.reason:
            try:
                return kind(**{field.name: _converted(field, info.metadata) for field in attrs.fields(kind)})
            except (KeyError, ValueError):
                return None
    return None


def _converted(field: attrs.Attribute[object], metadata: Mapping[str, str]) -> object:
    return int(metadata[field.name]) if field.type in {int, "int"} else metadata[field.name]
