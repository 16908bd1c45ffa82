"""Periods end as Regulation 1182/71 says, in every time zone, and never early."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.calendar import EARLIEST, LATEST, Period, ends, latest, parse_period, parse_zone
from capsule_core.errors import InvalidField

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = st.sampled_from(
    [UTC, *map(ZoneInfo, ("Europe/Berlin", "America/Havana", "Asia/Beirut", "Pacific/Apia", "Australia/Lord_Howe"))]
)
MOMENTS = st.timedeltas(timedelta(0), timedelta(days=73_000)).map(lambda age: datetime(2150, 1, 1, tzinfo=UTC) - age)
PERIODS = st.one_of(
    st.builds(Period, st.integers(0, 30), st.integers(0, 30), st.integers(1, 800)),
    st.builds(Period, hours=st.integers(1, 20_000)),
)


def local(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("start", "period", "last"),
    [
        ((2026, 9, 3), "P1M", (2026, 10, 3)),
        ((2026, 1, 31), "P1M", (2026, 2, 28)),
        ((2024, 1, 31), "P1M", (2024, 2, 29)),
        ((2026, 1, 31), "P3M", (2026, 4, 30)),
        ((2024, 2, 29), "P1Y", (2025, 2, 28)),
        ((2024, 2, 29), "P4Y", (2028, 2, 29)),
        ((2026, 12, 31), "P1D", (2027, 1, 1)),
        ((2026, 3, 28), "P1D", (2026, 3, 29)),  # the clocks are put forward
        ((2026, 10, 24), "P1W", (2026, 10, 31)),  # and back
        ((2026, 5, 10), "P1Y6M", (2027, 11, 10)),
    ],
)
@pytest.mark.parametrize("hour", [0, 11, 23])
def test_a_period_ends_with_the_last_hour_of_its_last_day(
    start: tuple[int, int, int], period: str, last: tuple[int, int, int], hour: int
) -> None:
    over = ends(local(*start, hour, 30), parse_period("period", period), BERLIN)
    assert over == local(*last) + timedelta(days=1)
    assert over.astimezone(BERLIN).hour == 0


def test_hours_elapse_whatever_the_clocks_are_set_to() -> None:
    thrown = local(2026, 3, 1, 12)
    assert ends(thrown, Period(hours=720), BERLIN) - thrown.astimezone(UTC) == timedelta(hours=720)


@given(start=MOMENTS, period=PERIODS, zone=ZONES)
def test_no_period_is_over_early(start: datetime, period: Period, zone: ZoneInfo) -> None:
    shortest = timedelta(days=365 * period.years + 28 * period.months + period.days, hours=period.hours)
    over = ends(start, period, zone)
    assert shortest <= over - start + timedelta(hours=26 if period.days else 0)
    assert over - start <= period.longest + timedelta(hours=26)
    if not period.hours:
        after = start.astimezone(zone).date()
        assert over.astimezone(zone).date() > after


@given(one=MOMENTS, gap=st.timedeltas(timedelta(0), timedelta(days=40)), period=PERIODS, zone=ZONES)
def test_what_began_later_never_ends_earlier(one: datetime, gap: timedelta, period: Period, zone: ZoneInfo) -> None:
    assert ends(one, period, zone) <= ends(one + gap, period, zone)


@given(now=MOMENTS, period=PERIODS, zone=ZONES)
def test_the_latest_event_that_is_over_is_found_to_the_microsecond(
    now: datetime, period: Period, zone: ZoneInfo
) -> None:
    found = latest(lambda start: ends(start, period, zone) <= now)
    assert found is not None
    assert ends(found, period, zone) <= now < ends(found + timedelta(microseconds=1), period, zone)


def test_what_never_ended_has_no_latest_event_and_what_is_far_away_ends_with_the_calendar() -> None:
    assert latest(lambda start: ends(start, Period(years=150), UTC) <= EARLIEST) is None
    assert ends(LATEST, Period(years=150), UTC) == LATEST


@given(period=PERIODS)
def test_a_period_is_read_as_it_is_written(period: Period) -> None:
    assert parse_period("period", str(period)) == period


@pytest.mark.parametrize(
    "text",
    ["", "P", "PT", "P0D", "PT0H", "P-1Y", "6Y", "P6", "P1YT1H", "P201Y", "P1Y ", "p1y", "P1.5Y", "P١Y", "P9999Y9999M"],
)
def test_what_is_no_period_is_refused_with_its_field(text: str) -> None:
    with pytest.raises(InvalidField) as refused:
        parse_period("rules[2].period", text)
    assert refused.value.field == "rules[2].period"


def test_a_zone_is_found_by_its_name() -> None:
    assert parse_zone("zone", "Europe/Berlin") == BERLIN
    assert parse_zone("zone", "UTC") is UTC


@pytest.mark.parametrize("name", ["", "Berlin", "Europe/Atlantis", "../etc/passwd", "/etc/passwd", "a\0b", "Europe"])
def test_what_is_no_zone_is_refused_with_its_field(name: str) -> None:
    with pytest.raises(InvalidField) as refused:
        parse_zone("zone", name)
    assert refused.value.field == "zone"
