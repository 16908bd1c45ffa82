"""What a tenant's administrators write: periods, time zones, retention policies, as documents and as messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.calendar import ends, latest, parse_period, parse_zone
from capsule_core.contacts import Entry, Organisation, Person, Photo
from capsule_core.errors import CardNumberFound, InvalidField
from capsule_core.personal import kind_of
from capsule_core.policies import amended, document, parse_policy, scope_of
from capsule_core.retention import NO_RULES, past
from capsule_services.contacts.bulk.convert import batch_from, stale_from
from capsule_services.contacts.lists.convert import list_from
from capsule_services.contacts.retention.convert import document_from, moment_from, policy_to, weeks_from
from tests.fuzzing.target import Drawn, Target

__all__ = ["TARGETS"]

NOW: Final = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
KINDS: Final = {each.name: each for each in map(kind_of, (Person, Organisation, Entry, Photo))}
RULES: Final = [
    {"id": "a", "effect": "trash", "since": "contacted", "period": "P3Y", "kinds": ["person"]},
    {"id": "b", "effect": "keep", "since": "created", "period": "P18M", "locked": True},
    {"id": "c", "effect": "destroy", "after": "b", "period": "PT720H", "kinds": ["entry"]},
]


def _period(data: bytes) -> None:
    period = parse_period("period", Drawn(data).text())
    assert parse_period("period", str(period)) == period
    over = ends(NOW, period, UTC)
    assert over > NOW
    found = latest(lambda start: ends(start, period, UTC) <= NOW)
    assert found is not None
    assert ends(found, period, UTC) <= NOW


def _zone(data: bytes) -> None:
    zone = parse_zone("zone", Drawn(data).text())
    assert parse_zone("zone", str(zone)) == zone


def _policy(data: bytes) -> None:
    policy = parse_policy(Drawn(data).text(), KINDS)
    assert parse_policy(document(policy), KINDS) == policy
    changed = amended(NO_RULES, policy, now=NOW)
    for declared in KINDS.values():
        past(changed, scope_of(declared), NOW)


def _message(data: bytes) -> None:
    message = pb.SimulateRetentionRequest.FromString(data)
    policy = parse_policy(document_from(message.policy), KINDS)
    again = policy_to("acme", policy, None, now=NOW)  # type: ignore[arg-type]
    assert parse_policy(document_from(again), KINDS) == policy
    assert 0 < weeks_from(message.weeks, usual=12) <= 104


def _moment(data: bytes) -> None:
    moment = moment_from(Timestamp.FromString(data), field="end_time")
    assert moment.tzinfo is UTC


def _messages() -> Iterator[bytes]:
    policy = parse_policy(json.dumps({"rules": RULES}), KINDS)
    message = policy_to("acme", policy, None, now=NOW)  # type: ignore[arg-type]
    yield pb.SimulateRetentionRequest(policy=message, weeks=3).SerializeToString()


def _moments() -> Iterator[bytes]:
    for seconds in (0, -62_135_596_800, 253_402_300_799):
        yield Timestamp(seconds=seconds, nanos=999_999_999).SerializeToString()


def _stale(data: bytes) -> None:
    message = pb.TrashContactsRequest.FromString(data)
    stale = stale_from(message.stale)
    assert stale is None or all(stale.groups)
    batch = batch_from(message.batch)
    assert batch in {"", message.batch}


def _list(data: bytes) -> None:
    message = pb.CreateContactListRequest.FromString(data).contact_list
    stale = stale_from(message.stale)
    wanted = list_from(message, stale)
    assert (wanted.name, wanted.stale) == (message.display_name, stale)


def _lists() -> Iterator[bytes]:
    for name in ("Leads of 2019", "Zürich"):
        request = pb.CreateContactListRequest(contact_list=pb.ContactList(display_name=name))
        request.contact_list.stale.not_opened_since.FromDatetime(NOW.replace(tzinfo=None))
        yield request.SerializeToString()


def _stales() -> Iterator[bytes]:
    for batch in ("", "b06k1ntb2vtpg7bebldke4ld54s"):
        request = pb.TrashContactsRequest(batch=batch)
        request.stale.not_opened_since.FromDatetime(NOW.replace(tzinfo=None))
        yield request.SerializeToString()


TARGETS: Final = (
    Target(
        name="contact-list",
        take=_list,
        parsers=(list_from,),
        samples=_lists,
        raises=(InvalidField, CardNumberFound, DecodeError),
    ),
    Target(
        name="stale",
        take=_stale,
        parsers=(stale_from, batch_from),
        samples=_stales,
        raises=(InvalidField, DecodeError),
    ),
    Target(
        name="period",
        take=_period,
        parsers=(parse_period,),
        samples=lambda: (b"P6Y", b"P1Y6M", b"P2W", b"P90D", b"PT720H", b"P200Y"),
        raises=(InvalidField,),
        longest=32,
    ),
    Target(
        name="zone",
        take=_zone,
        parsers=(parse_zone,),
        samples=lambda: (b"UTC", b"Europe/Berlin", b"America/Argentina/Buenos_Aires"),
        raises=(InvalidField,),
        longest=64,
    ),
    Target(
        name="policy",
        take=_policy,
        parsers=(parse_policy,),
        samples=lambda: (json.dumps({"zone": "Europe/Berlin", "rules": RULES}).encode(), b'{"rules": []}'),
        raises=(InvalidField,),
    ),
    Target(
        name="policy-message",
        take=_message,
        parsers=(document_from, weeks_from),
        samples=_messages,
        raises=(InvalidField, DecodeError),
    ),
    Target(
        name="relationship-end",
        take=_moment,
        parsers=(moment_from,),
        samples=_moments,
        raises=(InvalidField, DecodeError),
        longest=32,
    ),
)
