"""The trash: a clock of exactly 30 x 24 hours, and a restore that undoes a delete to the byte."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from capsule_core.names import from_micros, micros
from capsule_core.records import Trash

__all__ = ["PERIOD", "is_due", "thrown"]

PERIOD: Final = timedelta(hours=30 * 24)
"""How long something stays in the trash: elapsed hours, no calendar days, so that no time zone can shorten it."""


def thrown(batch: str, *, now: datetime) -> Trash:
    """Put what is deleted together at *now* into the trash, until exactly :data:`PERIOD` has passed."""
    at = from_micros(micros(now))  # in UTC: added in another zone, 30 days may be an hour short
    return Trash(batch=batch, at=at, until=at + PERIOD)


def is_due(trash: Trash, *, now: datetime) -> bool:
    """Tell whether the time in the trash is over: never a microsecond early."""
    return now >= trash.until
