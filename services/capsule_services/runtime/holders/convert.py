"""The holder contract, of the wire and of the domain."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from capsule_api.holder.v1 import holder_pb2 as pb
from capsule_core.errors import InvalidField
from capsule_core.holder import About, Collected, Done, Identifier, Match, Order
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.personal import Form
from capsule_core.receipts import Receipt
from capsule_core.statements import Outcome
from capsule_services.runtime.packing import packed

__all__ = [
    "about_from",
    "about_to",
    "collected_from",
    "collected_to",
    "collections_to",
    "done_from",
    "done_to",
    "identifier_from",
    "identifier_to",
    "match_from",
    "match_to",
    "moment_from",
    "order_from",
    "order_to",
    "parsed_erasure",
    "parsed_subject",
    "reason_name",
    "subject_name",
]

_ID: Final = r"([A-Za-z0-9][A-Za-z0-9_.-]{0,63})"
_SUBJECT: Final = re.compile(rf"tenants/{_ID}/(?:contacts|users|subjects)/{_ID}")
_ERASURE: Final = re.compile(rf"tenants/{_ID}/erasures/{_ID}")
_FORMS: Final = {
    pb.Identifier.EMAIL: Form.EMAIL,
    pb.Identifier.PHONE: Form.PHONE,
    pb.Identifier.REFERENCE: Form.TEXT,
}
_KINDS: Final = {form: kind for kind, form in _FORMS.items()}
_OUTCOMES: Final = {
    pb.EraseResponse.ERASED: Outcome.ERASED,
    pb.EraseResponse.NOTHING_HELD: Outcome.NOTHING_HELD,
    pb.EraseResponse.PENDING: None,
}


def subject_name(tenant: TenantId, subject: SubjectKey) -> str:
    """Name a subject by the surrogate all services share."""
    return f"tenants/{tenant}/subjects/{subject}"


def parsed_subject(name: str, field: str) -> SubjectKey:
    """Return the surrogate in the name of a subject, a contact or a user.

    Raises:
        InvalidField: it is no such name.
    """
    found = _SUBJECT.fullmatch(name)
    if found is None:
        raise InvalidField(field, "must be like tenants/{tenant}/subjects/{subject}")
    return SubjectKey(found[2])


def parsed_erasure(name: str, field: str = "erasure") -> tuple[TenantId, str]:
    """Return tenant and id in the name of an erasure.

    Raises:
        InvalidField: it is no such name.
    """
    found = _ERASURE.fullmatch(name)
    if found is None:
        raise InvalidField(field, "must be like tenants/{tenant}/erasures/{erasure}")
    return TenantId(found[1]), found[2]


def reason_name(tenant: TenantId, reason: str) -> str:
    """Name the reason of an order."""
    return f"tenants/{tenant}/reasons/{reason}"


def moment_from(message: Timestamp, field: str) -> datetime:
    """Read a moment.

    Raises:
        InvalidField: it lies outside the calendar.
    """
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidField(field, "must lie between the years 1 and 9999") from None


def order_from(value: int) -> Order:
    """Read an order.

    Raises:
        InvalidField: it is none.
    """
    if value == pb.ORDER_UNSPECIFIED:
        raise InvalidField("order", "is required")
    if value not in pb.Order.values():
        raise InvalidField("order", "is not one of the values this field can have")
    return Order(pb.Order.Name(pb.Order.ValueType(value)).lower())


def order_to(order: Order) -> pb.Order.ValueType:
    """Write an order."""
    return pb.Order.Value(order.name)


def about_to(about: About, *, signing_key: bytes) -> pb.AboutResponse:
    """Write who a holder is."""
    return pb.AboutResponse(
        holder=about.name,
        display_name=about.name.capitalize(),
        kinds=about.kinds,
        orders=sorted(order_to(order) for order in about.orders),
        signing_key=signing_key,
    )


def about_from(message: pb.AboutResponse) -> About:
    """Read who a holder is."""
    return About(name=message.holder, kinds=tuple(message.kinds), orders=frozenset(map(order_from, message.orders)))


def identifier_from(message: pb.Identifier, field: str) -> Identifier:
    """Read an identifier.

    Raises:
        InvalidField: its kind is unknown.
    """
    if message.kind not in _FORMS:
        raise InvalidField(f"{field}.kind", "must be EMAIL, PHONE or REFERENCE")
    return Identifier(_FORMS[message.kind], message.value)


def identifier_to(identifier: Identifier) -> pb.Identifier:
    """Write an identifier."""
    return pb.Identifier(kind=_KINDS[identifier.form], value=identifier.value)


def match_to(tenant: TenantId, match: Match) -> pb.LocateResponse.Match:
    """Write a match."""
    name = subject_name(tenant, match.subject)
    return pb.LocateResponse.Match(subject=name, identifiers=match.identifiers, records=match.records)


def match_from(message: pb.LocateResponse.Match) -> Match:
    """Read a match."""
    subject = parsed_subject(message.subject, "subject")
    return Match(subject=subject, identifiers=tuple(message.identifiers), records=message.records)


def collected_to(tenant: TenantId, collected: Collected) -> pb.CollectResponse.Record:
    """Write one record of a person."""
    return pb.CollectResponse.Record(
        name=f"tenants/{tenant}/records/{collected.id}",
        subject=subject_name(tenant, collected.subject),
        kind=collected.kind,
        media_type=collected.media_type,
        content=collected.content,
        provided=collected.provided,
        kept=collected.kept,
    )


def collections_to(
    tenant: TenantId, records: Iterable[Collected], *, together: int, token: str
) -> Iterator[pb.CollectResponse]:
    """Write records of people, so many *together* or, if that is 0, each by itself; *token* goes with the last."""
    loads = list(packed(records, lambda each: len(each.content), most=together or 1))
    for number, load in enumerate(loads, 1):
        written = [collected_to(tenant, each) for each in load]
        message = pb.CollectResponse(records=written) if together else pb.CollectResponse(record=written[0])
        message.next_page_token = token if number == len(loads) else ""
        yield message


def collected_from(messages: Iterable[pb.CollectResponse]) -> Iterable[Collected]:
    """Read the records of a person, however many come together; omissions are not records."""
    for message in messages:
        for record in (message.record,) if message.HasField("record") else message.records:
            yield Collected(
                id=RecordId(record.name.rpartition("/")[2]),
                subject=parsed_subject(record.subject, "subject"),
                kind=record.kind,
                media_type=record.media_type,
                content=record.content,
                provided=record.provided,
                kept=record.kept,
            )


def done_to(done: Done) -> pb.EraseResponse:
    """Write how an erasure ended."""
    outcome = next(value for value, meant in _OUTCOMES.items() if meant is done.outcome)
    return pb.EraseResponse(outcome=outcome, receipt=b"" if done.receipt is None else done.receipt.document)


def done_from(message: pb.EraseResponse) -> Done:
    """Read how an erasure ended.

    Raises:
        InvalidField: nothing is said of how it ended.
        ReceiptInvalid: the receipt that came along is none.
    """
    if message.outcome not in _OUTCOMES:
        raise InvalidField("outcome", "is not one of the values this field can have")
    receipt = Receipt.decode(message.receipt) if message.receipt else None
    return Done(_OUTCOMES[message.outcome], receipt)
