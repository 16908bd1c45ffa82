"""Who and what is meant: the tenant is inside every identity, never a filter.

Ids are made by the server: 128 bits, time-ordered (UUIDv7, RFC 9562 section 5.7), written as 26 characters of base32hex
(RFC 4648 section 7, lower case, so that text sorts as time does) behind one letter that says what they name. A caller's
own id never becomes a name; it is mapped by a keyed hash (see ``vault``).
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from typing import Final, NewType

import attrs

from capsule_core.errors import InvalidField

__all__ = [
    "OPERATOR",
    "ActorRef",
    "RecordId",
    "RecordName",
    "SubjectKey",
    "SubjectRef",
    "TenantId",
    "encoded",
    "from_micros",
    "made_id",
    "micros",
    "owner_id",
    "record_id",
    "subject_key",
    "tenant_id",
]

TenantId = NewType("TenantId", str)
"""One customer's account."""

OPERATOR: Final = TenantId("~operator")
"""Under whom is kept what is the operator's own: no tenant, for an id that begins so is none, made or asked for."""

RecordId = NewType("RecordId", str)
"""Names a record within its tenant."""

SubjectKey = NewType("SubjectKey", str)
"""Stands for a subject wherever the subject must not be readable: stores, journal, ledger, logs."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def _token(field: str, text: object) -> str:
    if not isinstance(text, str) or not _TOKEN.fullmatch(text):
        raise InvalidField(field, "must be 1 to 64 letters, digits, '_', '.' or '-', beginning with a letter or digit")
    return text


def tenant_id(text: str) -> TenantId:
    """Take *text* as the id of a tenant.

    Raises:
        InvalidField: it is not 1 to 64 characters of the allowed set.
    """
    return TenantId(_token("tenant", text))


def owner_id(text: str) -> TenantId:
    """Take *text* as whose something in the log is: a tenant's, as :func:`tenant_id` does, or the operator's."""
    return OPERATOR if text == OPERATOR else tenant_id(text)


def record_id(text: str) -> RecordId:
    """Take *text* as the id of a record, under the same rule as :func:`tenant_id`."""
    return RecordId(_token("id", text))


def subject_key(text: str) -> SubjectKey:
    """Take *text* as a surrogate of a subject, under the same rule as :func:`tenant_id`."""
    return SubjectKey(_token("subject", text))


def encoded(sixteen: bytes) -> str:
    """Write 16 bytes as 26 characters that sort as the bytes do."""
    return base64.b32hexencode(sixteen)[:26].decode("ascii").lower()


def made_id(letter: str, *, now: datetime, randomness: bytes) -> str:
    """Make a new id from the time and 10 random bytes (UUIDv7)."""
    stamp = (micros(now) // 1000).to_bytes(6, "big")
    tail = bytearray(randomness[:10])
    tail[0] = 0x70 | (tail[0] & 0x0F)
    tail[2] = 0x80 | (tail[2] & 0x3F)
    return letter + encoded(stamp + bytes(tail))


def micros(moment: datetime) -> int:
    """Count the microseconds from 1970 to *moment*, which must know its time zone."""
    if moment.tzinfo is None:
        raise InvalidField("time", "must know its time zone")
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(count: int) -> datetime:
    """Return the moment *count* microseconds after 1970, in UTC."""
    return _EPOCH + count * _MICROSECOND


@attrs.frozen
class SubjectRef:
    """A person as a caller knows them: *id* may be the caller's own, and is never stored in the clear."""

    tenant: TenantId = attrs.field(converter=tenant_id)
    kind: str
    id: str = attrs.field(repr=False)


@attrs.frozen
class RecordName:
    """A record as the store knows it."""

    tenant: TenantId = attrs.field(converter=tenant_id)
    id: RecordId = attrs.field(converter=record_id)


@attrs.frozen
class ActorRef:
    """Who acts: a user, an integration, a service or the clock (*kind*), by an opaque *id*."""

    kind: str
    id: str
