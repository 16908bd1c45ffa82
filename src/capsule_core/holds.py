"""Holds: what somebody with authority wants kept, however much is to be destroyed; no date ends one, a person does.

A hold says what it covers, on which of the five grounds of GDPR Art. 17(3), on whose authority and why. It is a record
of everybody's (``protection``), so that it outlives whom it holds, and stands beside the reasons that it puts: these
are what guards. What is released stays on record without its text, which may speak of people.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias

import attrs

from capsule_core.errors import InvalidField
from capsule_core.names import ActorRef, RecordId, SubjectKey
from capsule_core.personal import Category, Kind, Personal, Plain, kind
from capsule_core.protection import EVERYBODY

__all__ = ["PURPOSE", "Extent", "Ground", "Hold", "narrowed", "released"]

PURPOSE: Final = "keeping what must not be destroyed"
"""What holds are kept for."""

_NAME: Final = re.compile(r"[A-Za-z0-9_]{0,64}")
_LINE: Final = 500
_LINES: Final = 10_000


class Extent(enum.Enum):
    """How much a hold covers."""

    TENANT = "tenant"
    SUBJECT = "subject"
    RECORD = "record"
    FIELD = "field"


class Ground(enum.Enum):
    """Why the right to erasure does not apply (GDPR Art. 17(3)(a) to (e), in this order)."""

    EXPRESSION = "expression"
    LEGAL_OBLIGATION = "legal_obligation"
    PUBLIC_HEALTH = "public_health"
    ARCHIVING = "archiving"
    LEGAL_CLAIMS = "legal_claims"


def _authority(_: object, field: attrs.Attribute[str], value: str) -> None:
    if not value.strip() or len(value) > _LINE or not value.isprintable():
        raise InvalidField(field.name, f"must say on one line of 1 to {_LINE} characters who ordered it")


def _reason(_: object, field: attrs.Attribute[str], value: str) -> None:
    if len(value) > _LINES:
        raise InvalidField(field.name, f"must have at most {_LINES} characters")


_Authority: TypeAlias = Annotated[str, Personal(Category.OTHER, purpose=PURPOSE, provided=False)]
_Reason: TypeAlias = Annotated[str, Personal(Category.OTHER, purpose=PURPOSE, provided=False)]


@kind("hold", subject="about", server_ids=True, journaled=True)
@attrs.frozen(kw_only=True)
class Hold:
    """One hold: on all of a tenant, on a *subject*, on a *record* of theirs, or on one *field* of it.

    Times are RFC 3339, *placed_by* and *released_by* ``kind/id`` of an actor; a hold that stands has no *released_at*.

    Raises:
        InvalidField: nobody is said to have ordered it, a text is too long, or it covers nothing that there can be.
    """

    id: str
    about: str = EVERYBODY
    subject: Annotated[str, Plain("surrogate of the person it covers")] = ""
    record: Annotated[str, Plain("the one record it covers")] = ""
    field: Annotated[str, Plain("the one field it covers")] = ""
    ground: Annotated[Ground, Plain("why it may be kept")]
    authority: _Authority = attrs.field(validator=_authority)
    reason: _Reason = attrs.field(default="", validator=_reason, repr=False)
    placed_at: Annotated[str, Plain("when it was placed")]
    placed_by: Annotated[str, Plain("who placed it")]
    released_at: Annotated[str, Plain("when it was released")] = ""
    released_by: Annotated[str, Plain("who released it")] = ""

    def __attrs_post_init__(self) -> None:
        if self.field and not self.record:
            raise InvalidField("field", "is one of a record: name the record too")
        if not _NAME.fullmatch(self.field):
            raise InvalidField("field", "must be the name of a field in ASCII letters, digits and underscores")

    @property
    def extent(self) -> Extent:
        """How much it covers."""
        if self.field:
            return Extent.FIELD
        if self.record:
            return Extent.RECORD
        return Extent.SUBJECT if self.subject else Extent.TENANT

    @property
    def held(self) -> tuple[SubjectKey, RecordId | None]:
        """Whom it covers, everybody if nobody is named, and which of their records; None for all."""
        return SubjectKey(self.subject or EVERYBODY), RecordId(self.record) if self.record else None


def released(hold: Hold, *, by: ActorRef, now: datetime) -> Hold:
    """Return *hold* as it is kept from its release on: without the text that said why."""
    return attrs.evolve(hold, reason="", released_at=now.isoformat(), released_by=f"{by.kind}/{by.id}")


def narrowed(content: Any, kind: Kind, fields: Collection[str]) -> Any | None:
    """Return *content* with no personal data but *fields*; None if it is not valid without the others.

    What names the record and its subject stays, and so do fields that hold nothing personal.
    """
    empty: dict[str, Any] = {}
    for field in attrs.fields(type(content)):
        if isinstance(kind.fields.get(field.name), Personal) and field.name not in fields:
            if field.default is attrs.NOTHING:
                return None
            factory = getattr(field.default, "factory", None)
            empty[field.name] = factory() if factory else field.default
    try:
        return attrs.evolve(content, **empty)
    except InvalidField:
        return None
