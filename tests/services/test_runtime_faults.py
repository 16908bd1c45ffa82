"""Errors on the wire: each family has its code, each error one ErrorInfo, and it can be read back."""

from __future__ import annotations

from typing import Any

import attrs
import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from capsule_core import errors
from capsule_core.errors import (
    CapsuleError,
    CardNumberFound,
    InvalidField,
    PageTokenInvalid,
    ReceiptInvalid,
    RequestReused,
    Unavailable,
)
from capsule_services.runtime.faults import code_of, failure, refusal, understood

KINDS = [
    kind
    for kind in (getattr(errors, name) for name in errors.__all__)
    if "reason" in vars(kind) and kind is not CapsuleError
]


@attrs.frozen
class Answer(grpc.RpcError, grpc.Call):  # type: ignore[misc]
    """What a client gets that called somebody who answered *status*."""

    status: grpc.Status

    def code(self) -> grpc.StatusCode:
        return self.status.code

    def details(self) -> str:
        return self.status.details

    def trailing_metadata(self) -> Any:
        return self.status.trailing_metadata

    def _none(self, *_: Any) -> None:
        return None

    initial_metadata = add_callback = cancel = is_active = time_remaining = _none


def made(kind: type[CapsuleError]) -> CapsuleError:
    return kind(
        **{field.name: 7 if field.type in {int, "int"} else f"some {field.name}" for field in attrs.fields(kind)}
    )


def written(status: grpc.Status) -> status_pb2.Status:
    ((_, value),) = status.trailing_metadata
    return status_pb2.Status.FromString(value)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_the_wire(kind: type[CapsuleError]) -> None:
    error = made(kind)
    back = understood(Answer(refusal(error, domain="contacts.capsule")))
    assert (type(back), back.metadata, str(back)) == (kind, error.metadata, str(error))


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_has_one_info_with_all_that_its_sentence_is_made_of(kind: type[CapsuleError]) -> None:
    error = made(kind)
    assert code_of(error) not in {grpc.StatusCode.OK, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
    status = written(refusal(error, domain="contacts.capsule"))
    info, *others = status.details
    told = error_details_pb2.ErrorInfo()
    assert info.Unpack(told)
    assert (told.reason, told.domain, dict(told.metadata)) == (kind.reason, "contacts.capsule", error.metadata)
    assert not any(other.Is(error_details_pb2.ErrorInfo.DESCRIPTOR) for other in others)


@given(field=st.text(min_size=1, alphabet=st.characters(codec="utf-8")))
def test_a_field_at_fault_is_named_by_its_path(field: str) -> None:
    _, detail = written(refusal(InvalidField(field, "is wrong"), domain="contacts.capsule")).details
    bad = error_details_pb2.BadRequest()
    assert detail.Unpack(bad)
    assert [(each.field, each.description) for each in bad.field_violations] == [(field, "is wrong")]


@pytest.mark.parametrize(
    ("error", "field"),
    [
        (PageTokenInvalid(), "page_token"),
        (RequestReused(), "request_id"),
        (ReceiptInvalid("it is not one"), "receipt"),
        (CardNumberFound("about"), "about"),
    ],
)
def test_whatever_is_invalid_names_the_field_at_fault(error: CapsuleError, field: str) -> None:
    bad = error_details_pb2.BadRequest()
    assert written(refusal(error, domain="contacts.capsule")).details[1].Unpack(bad)
    assert [(each.field, each.description) for each in bad.field_violations] == [(field, str(error))]


@pytest.mark.parametrize("trailer", [b"\x08\x05\x12\x07", status_pb2.Status(code=5, message="b").SerializeToString()])
def test_a_status_that_is_none_or_contradicts_its_call_is_passed_over(trailer: bytes) -> None:
    """A holder may be anybody's program."""
    answer = Answer(_Plain(grpc.StatusCode.UNAVAILABLE, "a", (("grpc-status-details-bin", trailer),)))
    assert type(understood(answer)) is Unavailable


def test_a_failure_says_nothing_but_an_id() -> None:
    status = failure(domain="contacts.capsule", error_id="e" * 32)
    assert status.code is grpc.StatusCode.INTERNAL
    assert type(understood(Answer(status))) is CapsuleError
    told = error_details_pb2.RequestInfo()
    assert written(status).details[1].Unpack(told)
    assert told.request_id == "e" * 32


@pytest.mark.parametrize("reason", ["NEVER_HEARD_OF", "INVALID_FIELD"])
def test_an_info_nobody_can_read_is_not_guessed_at(reason: str) -> None:
    status = status_pb2.Status(code=3)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="elsewhere"))
    answer = Answer(
        _Plain(grpc.StatusCode.INVALID_ARGUMENT, "", (("grpc-status-details-bin", status.SerializeToString()),))
    )
    assert type(understood(answer)) is CapsuleError


@attrs.frozen
class _Plain(grpc.Status):  # type: ignore[misc]
    code: grpc.StatusCode
    details: str
    trailing_metadata: Any
