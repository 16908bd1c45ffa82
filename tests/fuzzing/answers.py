"""What other services and other people's holders answer: messages of the holder contract, refusals, traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import attrs
import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, status_pb2

from capsule_api.holder.v1 import holder_pb2 as pb
from capsule_core import errors
from capsule_core.errors import CapsuleError, InvalidField, NewerSchema, ReceiptInvalid
from capsule_core.holder import About, Collected, Done, Match, Order
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.statements import Outcome
from capsule_services.runtime.faults import failure, refusal, understood
from capsule_services.runtime.holders import convert
from capsule_services.runtime.holders.convert import about_from, collected_from, done_from, match_from
from capsule_services.runtime.spans import _LINK
from tests.core.test_receipts import RECEIPT
from tests.fuzzing.target import Drawn, Target
from tests.services.test_runtime_faults import Answer

__all__ = ["TARGETS"]

ACME: Final = TenantId("acme")
SUBJECT: Final = SubjectKey("s1")


def _about(data: bytes) -> None:
    about = about_from(pb.AboutResponse.FromString(data))
    assert about_from(convert.about_to(about, signing_key=b"")) == about


def _match(data: bytes) -> None:
    match = match_from(pb.LocateResponse.Match.FromString(data))
    assert match_from(convert.match_to(ACME, match)) == match


def _collected(data: bytes) -> None:
    found = list(collected_from([pb.CollectResponse.FromString(data)]))
    sent = convert.collections_to(ACME, found, together=10, token="")
    assert [each.content for each in collected_from(sent)] == [each.content for each in found]


def _done(data: bytes) -> None:
    done = done_from(pb.EraseResponse.FromString(data))
    assert done_from(convert.done_to(done)) == done


_READ: Final[tuple[Callable[[bytes], None], ...]] = (_about, _match, _collected, _done)


def _answer(data: bytes) -> None:
    drawn = Drawn(data)
    _READ[drawn.number(len(_READ))](drawn.left)


def _answers() -> Iterator[bytes]:
    about = About(name="contacts", kinds=("person",), orders=frozenset(Order))
    collected = Collected(
        id=RecordId("r1"), subject=SUBJECT, kind="person", media_type="application/json", content=b"{}", provided=True
    )
    messages: list[tuple[int, Message]] = [
        (0, convert.about_to(about, signing_key=b"key")),
        (1, convert.match_to(ACME, Match(subject=SUBJECT, identifiers=(0, 2), records=3))),
        (3, convert.done_to(Done(Outcome.ERASED, RECEIPT))),
        (3, convert.done_to(Done(Outcome.NOTHING_HELD, None))),
        (3, pb.EraseResponse()),
    ]
    messages += [(2, each) for each in convert.collections_to(ACME, [collected] * 2, together=0, token="t")]
    for number, message in messages:
        yield bytes([number]) + message.SerializeToString()


@attrs.frozen
class _Status(grpc.Status):
    """How a call ended, with what another program wrote into its trailers."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, bytes], ...]


def _refusal(data: bytes) -> None:
    drawn = Drawn(data)
    codes = list(grpc.StatusCode)
    code, details = codes[drawn.number(len(codes))], drawn.part().decode("utf-8", "replace")
    error = understood(Answer(_Status(code, details, (("grpc-status-details-bin", drawn.left),))))
    assert isinstance(error, CapsuleError)
    assert str(error)


def _refusals() -> Iterator[bytes]:
    codes = [each.name for each in grpc.StatusCode]
    raised = [
        InvalidField("name", "is wrong"),
        errors.RateExceeded(5),
        errors.SubjectErased(),
        errors.LedgerBroken(3, "x"),
    ]
    statuses = [*(refusal(each, domain="contacts.capsule") for each in raised), failure(domain="x", error_id="e")]
    for status in statuses:
        text = status.details.encode()[:255]
        written = dict(status.trailing_metadata)["grpc-status-details-bin"]
        yield bytes([codes.index(status.code.name), len(text)]) + text + written
    other = status_pb2.Status(code=code_pb2.NOT_FOUND, message="another")
    yield bytes([3, 0]) + other.SerializeToString()


def _trace(data: bytes) -> None:
    """Whatever a caller says of its trace, a call is answered."""
    _LINK.extract({"traceparent": data.decode("latin-1")})


TARGETS: Final = (
    Target(
        name="holder-answer",
        take=_answer,
        parsers=(about_from, match_from, collected_from, done_from, convert.parsed_subject, convert.order_from),
        samples=_answers,
        raises=(DecodeError, InvalidField, NewerSchema, ReceiptInvalid),
    ),
    Target(name="refusal", take=_refusal, parsers=(understood,), samples=_refusals),
    Target(
        name="traceparent",
        take=_trace,
        parsers=(),
        samples=lambda: [b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", b"00-0-0-0", b""],
    ),
)
