"""Errors on the wire: a family of the domain becomes a code, its data one ErrorInfo (AIP-193), and back again."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Final

import attrs
import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from capsule_core import errors
from capsule_core.errors import CapsuleError, InvalidField, RateExceeded, Unavailable

__all__ = ["StartRefused", "code_of", "failure", "refusal", "telling", "understood"]

_FAMILIES: Final[Mapping[type[CapsuleError], grpc.StatusCode]] = {
    errors.Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.Exhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DataLoss: grpc.StatusCode.DATA_LOSS,
}
_PASSING: Final = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


_FIELDS: Final[Mapping[type[CapsuleError], str]] = {
    errors.PageTokenInvalid: "page_token",
    errors.ReceiptInvalid: "receipt",
    errors.RequestReused: "request_id",
}
"""The field at fault where the kind of error says it."""


class StartRefused(Exception):
    """A service cannot start; the text is one sentence that says what to do."""


def code_of(error: CapsuleError) -> grpc.StatusCode:
    """Return the code of the family that *error* belongs to."""
    for family, code in _FAMILIES.items():
        if isinstance(error, family):
            return code
    return grpc.StatusCode.INTERNAL


def refusal(error: CapsuleError, *, domain: str) -> grpc.Status:
    """Write *error* as a status with one ErrorInfo, the field at fault if there is one, and how long to wait."""
    details: list[Message] = [_info(error, domain)]
    field = error.metadata.get("field", _FIELDS.get(type(error)))
    if field is not None and isinstance(error, errors.Invalid):
        description = error.problem if isinstance(error, InvalidField) else str(error)
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, RateExceeded):
        delay = Duration()
        delay.FromMilliseconds(error.milliseconds)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return _status(code_of(error), str(error), details)


def failure(*, domain: str, error_id: str) -> grpc.Status:
    """Write that something unforeseen happened, and nothing about it but the id it is logged under."""
    details: list[Message] = [_info(CapsuleError(), domain), error_details_pb2.RequestInfo(request_id=error_id)]
    return _status(
        grpc.StatusCode.INTERNAL, "the service failed; its log has more under the id in RequestInfo", details
    )


def understood(error: grpc.RpcError) -> CapsuleError:
    """Read what another service answered back into the error it raised; what passes by itself is Unavailable."""
    call: object = error
    if not isinstance(call, grpc.Call):
        return CapsuleError()
    status = _told(call)
    for detail in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        made = _restored(info) if detail.Unpack(info) else None
        if made is not None:
            return made
    return Unavailable() if call.code() in _PASSING else CapsuleError()


def _told(call: grpc.Call) -> status_pb2.Status | None:
    try:
        return rpc_status.from_call(call)
    except (DecodeError, ValueError):
        return None  # it contradicts what gRPC itself says, or is no status


@contextmanager
def telling() -> Generator[None]:
    """Raise what another service answers as the error that it raised there."""
    try:
        yield
    except grpc.RpcError as error:
        raise understood(error) from None


def _info(error: CapsuleError, domain: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=error.reason, domain=domain, metadata=error.metadata)


def _status(code: grpc.StatusCode, message: str, details: list[Message]) -> grpc.Status:
    status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=message)
    for detail in details:
        status.details.add().Pack(detail)
    return rpc_status.to_status(status)


def _restored(info: error_details_pb2.ErrorInfo) -> CapsuleError | None:
    metadata = dict(info.metadata)  # a protobuf map would answer what is missing with an empty text
    for name in errors.__all__:
        kind: type[CapsuleError] = getattr(errors, name)
        if "reason" in vars(kind) and kind.reason == info.reason:
            try:
                return kind(**{field.name: _converted(field, metadata) for field in attrs.fields(kind)})
            except (KeyError, ValueError):
                return None
    return None


def _converted(field: attrs.Attribute[object], metadata: Mapping[str, str]) -> object:
    return int(metadata[field.name]) if field.type in {int, "int"} else metadata[field.name]
