"""Periods as the law counts them (Regulation (EEC, Euratom) No 1182/71, Art. 3).

A period in days, months or years does not count the day of the event and ends with the last hour of its last day; one
in hours is elapsed time. Neither is ever over early, in whatever time zone and across whatever change of clocks.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import attrs

from capsule_core.errors import InvalidField
from capsule_core.names import from_micros, micros

__all__ = ["EARLIEST", "LATEST", "Period", "ends", "latest", "parse_period", "parse_zone"]

EARLIEST: Final = datetime(1, 1, 3, tzinfo=UTC)
"""Before this nothing has happened; two days from where dates end, so that every time zone has it."""

LATEST: Final = datetime(9999, 12, 29, tzinfo=UTC)
"""What would end later than this ends here."""

_PERIOD: Final = re.compile(
    r"P(?:(?P<years>\d{1,4})Y)?(?:(?P<months>\d{1,4})M)?(?:(?P<weeks>\d{1,4})W)?(?:(?P<days>\d{1,6})D)?(?:T(?P<hours>\d{1,7})H)?",
    re.ASCII,
)
_MOST_DAYS: Final = 200 * 366
_FAR: Final = LATEST.year - 201
_MONTHS: Final = 12
_IN_EVERY_MONTH: Final = 28


@attrs.frozen(cache_hash=True)
class Period:
    """A length of time: in years, months and days of the calendar, or in hours that elapse.

    Raises:
        InvalidField: it is empty, negative, longer than 200 years, or of both sorts.
    """

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    def __attrs_post_init__(self) -> None:
        parts = (self.years, self.months, self.days, self.hours)
        if min(parts) < 0 or not any(parts):
            raise InvalidField("period", "must be longer than nothing")
        if self.hours and any(parts[:3]):
            raise InvalidField("period", "must be in years, months and days or in hours, not in both")
        if self.longest > timedelta(days=_MOST_DAYS):
            raise InvalidField("period", "must not be longer than 200 years")

    @property
    def longest(self) -> timedelta:
        """What it cannot be longer than, whenever it begins."""
        if self.hours:
            return timedelta(hours=self.hours)
        return timedelta(days=366 * self.years + 31 * self.months + self.days + 1)

    def __str__(self) -> str:
        """Write it as ISO 8601 does: ``P6Y``, ``P1Y6M``, ``PT720H``."""
        if self.hours:
            return f"PT{self.hours}H"
        parts = ((self.years, "Y"), (self.months, "M"), (self.days, "D"))
        return "P" + "".join(f"{count}{unit}" for count, unit in parts if count)


def parse_period(field: str, text: str) -> Period:
    """Read a duration of ISO 8601: years, months, weeks and days, or hours after a ``T``.

    Raises:
        InvalidField: it is none, or none that :class:`Period` takes.
    """
    found = _PERIOD.fullmatch(text)
    if found is None:
        raise InvalidField(field, "must be a period like P6Y, P18M, P90D or PT720H (ISO 8601)")
    parts = {unit: int(count or 0) for unit, count in found.groupdict().items()}
    try:
        return Period(parts["years"], parts["months"], 7 * parts["weeks"] + parts["days"], parts["hours"])
    except InvalidField as error:
        raise InvalidField(field, error.problem) from None


def parse_zone(field: str, name: str) -> tzinfo:
    """Find a time zone of the IANA database by its name, ``Europe/Berlin``.

    Raises:
        InvalidField: there is none of that name.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidField(field, "must be the name of a time zone, like Europe/Berlin") from None


def ends(start: datetime, period: Period, zone: tzinfo) -> datetime:
    """Tell when a *period* that an event at *start* began is over, in UTC; days are those of *zone*.

    A month that lacks the day of the event ends with its last day (Art. 3(2)(c)). A later event never ends earlier.
    """
    if start.year >= _FAR:
        return LATEST
    if period.hours:
        return start.astimezone(UTC) + timedelta(hours=period.hours)
    return _day_after(start.astimezone(zone).date(), period, zone)


def latest(ended: Callable[[datetime], bool]) -> datetime | None:
    """Find the last event, to the microsecond, of which *ended* still holds; None if it holds of none.

    What holds of an event must hold of every earlier one. That is what turns the end of a period into one comparison
    that an index answers.
    """
    low, high = micros(EARLIEST), micros(LATEST)
    if not ended(EARLIEST):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if ended(from_micros(middle)) else (low, middle)
    return from_micros(low)


@lru_cache(maxsize=4096)  # of many records some days are asked for again and again
def _day_after(day: date, period: Period, zone: tzinfo) -> datetime:
    """Return when the day begins that follows on the last one of a *period*."""
    after = _shifted(day, period) + timedelta(days=1)
    return datetime(after.year, after.month, after.day, tzinfo=zone).astimezone(UTC)


def _shifted(day: date, period: Period) -> date:
    months = day.year * _MONTHS + day.month - 1 + period.years * _MONTHS + period.months
    year, month = divmod(months, _MONTHS)
    last = day.day if day.day <= _IN_EVERY_MONTH else min(day.day, calendar.monthrange(year, month + 1)[1])
    return date(year, month + 1, last) + timedelta(days=period.days)
