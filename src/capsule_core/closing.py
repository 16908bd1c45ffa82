"""Closing an account: until when it can be reopened, when what is destroyed, and what puts that off.

Two clocks run from the moment of closing. The data that the customer kept goes after 14 x 24 hours; until then the
account can be reopened. The account holder's own data goes within twelve months, unless one of eight grounds is on
record, each with its own end (A9 of the requirements). A closing is a record of everybody's (``protection``).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import attrs

from capsule_core.calendar import LATEST, Period, ends
from capsule_core.errors import InvalidField
from capsule_core.names import RecordId, SubjectKey
from capsule_core.personal import Plain, kind, kind_of
from capsule_core.protection import EVERYBODY

__all__ = [
    "ENDED",
    "FEWEST",
    "GRACE",
    "ID",
    "KIND",
    "Closing",
    "Figure",
    "Ground",
    "Remaining",
    "Term",
    "account_until",
    "closed",
    "due",
    "figures",
    "is_closed",
    "reopen_until",
    "spared",
]

GRACE: Final = timedelta(hours=14 * 24)
"""How long after closing the account can be reopened, and nothing of the customer's data is destroyed for it."""

FEWEST: Final = 10
"""A figure that stays never speaks of fewer people."""

ID: Final = RecordId("closing")
"""A tenant has at most one."""

ENDED: Final = RecordId("closing-ended")
"""Stands beside it when nothing is left but to destroy the tenant's keys: that it is there needs no key to be seen."""

_ACCOUNT: Final = Period(years=1)
_EARLY: Final = timedelta(days=1)


class Term(enum.Enum):
    """Which of the two clocks something goes by."""

    CUSTOMER_DATA = "customer_data"
    ACCOUNT = "account"


class Ground(enum.Enum):
    """Why the account holder's own data may be kept for longer than twelve months."""

    LEGAL_OBLIGATION = "legal_obligation"
    REGULATORY = "regulatory"
    SECURITY = "security"
    FRAUD_AND_ABUSE = "fraud_and_abuse"
    DISPUTES = "disputes"
    ENFORCING_TERMS = "enforcing_terms"
    MARKETING_CONSENT = "marketing_consent"
    UNSUBSCRIBE = "unsubscribe"


def _moment(_: object, field: attrs.Attribute[str], value: str) -> None:
    try:
        aware = datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        aware = False
    if not aware:
        raise InvalidField(field.name, "must be a date and time with its time zone, like 2027-11-30T00:00:00Z")


@attrs.frozen(kw_only=True)
class Remaining:
    """One ground on record, over at *until* (RFC 3339): on the data of one *user*, or on all of the account's.

    Raises:
        InvalidField: it has no end.
    """

    ground: Ground
    until: str = attrs.field(validator=_moment)
    user: str = ""

    def is_over(self, now: datetime) -> bool:
        """Tell whether it keeps nothing any more."""
        return datetime.fromisoformat(self.until) <= now


@attrs.frozen
class Figure:
    """How many there were of a *kind*; of fewer than `FEWEST` there is no figure."""

    kind: str
    count: int


@kind("closing", subject="about", server_ids=True, journaled=True)
@attrs.frozen(kw_only=True)
class Closing:
    """That an account was closed, and since when; one that was reopened has *reopened_at* (times are RFC 3339).

    From *begun_at* on data is being destroyed, and nobody can reopen it any more. *figures* are what was counted then.
    """

    id: str = ID
    about: str = EVERYBODY
    closed_at: Annotated[str, Plain("when the account was closed")] = attrs.field(validator=_moment)
    closed_by: Annotated[str, Plain("who closed it")]
    begun_at: Annotated[str, Plain("since when data is destroyed")] = ""
    reopened_at: Annotated[str, Plain("when it was reopened")] = ""
    reopened_by: Annotated[str, Plain("who reopened it")] = ""
    grounds: Annotated[tuple[Remaining, ...], Plain("why the account holder's data is kept for longer")] = ()
    figures: Annotated[tuple[Figure, ...], Plain("how many people there were, if many")] = ()


KIND: Final = kind_of(Closing).name


def is_closed(closing: Closing) -> bool:
    """Tell whether the account is closed, and was not reopened."""
    return not closing.reopened_at


def closed(closing: Closing) -> datetime:
    """Return when it was closed."""
    return datetime.fromisoformat(closing.closed_at)


def reopen_until(closing: Closing) -> datetime:
    """Return until when it can be reopened: from then on customer data is destroyed."""
    return min(closed(closing), LATEST - GRACE) + GRACE


def account_until(closing: Closing) -> datetime:
    """Return when at the latest the account holder's own data is gone that no ground keeps: after twelve months."""
    return ends(closed(closing), _ACCOUNT, UTC)


def due(closing: Closing, term: Term) -> datetime:
    """Return when to begin destroying what goes by *term*: of the account's a day early, so that it is never late."""
    return reopen_until(closing) if term is Term.CUSTOMER_DATA else account_until(closing) - _EARLY


def spared(closing: Closing, term: Term, *, now: datetime) -> frozenset[SubjectKey]:
    """Return whose data a ground on record keeps at *now*: users, or EVERYBODY; customer data is kept by none."""
    if term is Term.CUSTOMER_DATA:
        return frozenset()
    standing = (each for each in closing.grounds if not each.is_over(now))
    return frozenset(SubjectKey(each.user or EVERYBODY) for each in standing)


def figures(people: Mapping[str, int]) -> tuple[Figure, ...]:
    """Return what may be said for ever of how many people there were of which kind."""
    return tuple(Figure(kind, count) for kind, count in sorted(people.items()) if count >= FEWEST)
