"""Dates and time zones, at a time that stands still."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from localphi_agents.plugins import PluginError, Time
from localphi_agents.plugins.time import SpanUnit

NOON = datetime(2026, 11, 26, 12, 0, 30, tzinfo=timezone(timedelta(hours=1)))


@pytest.fixture
def clock() -> Time:
    return Time(clock=lambda: NOON)


def test_now_is_told_in_any_zone(clock: Time) -> None:
    assert clock.now() == {
        "date": "2026-11-26",
        "time": "12:00",
        "weekday": "Thursday",
        "zone": "UTC+01:00",
    }
    assert clock.now("Asia/Tokyo") == {
        "date": "2026-11-26",
        "time": "20:00",
        "weekday": "Thursday",
        "zone": "Asia/Tokyo (UTC+09:00)",
    }
    assert clock.now("america/new york")["time"] == "06:00"
    assert clock.now("Pacific/Kiritimati")["date"] == "2026-11-27"


def test_the_clock_of_this_computer_is_the_default() -> None:
    told = Time().now()
    assert abs(datetime.fromisoformat(told["date"]) - datetime.now()) < timedelta(days=2)
    assert told["zone"].startswith("UTC")


@pytest.mark.parametrize(
    ("start", "amount", "unit", "result"),
    [
        ("2026-11-26", 10, "days", "2026-12-06"),
        ("2026-11-26", -26, "days", "2026-10-31"),
        ("2026-11-26", 2, "weeks", "2026-12-10"),
        ("2026-01-31", 1, "months", "2026-02-28"),
        ("2024-01-31", 1, "months", "2024-02-29"),
        ("2026-03-31", -13, "months", "2025-02-28"),
        ("2024-02-29", 1, "years", "2025-02-28"),
        ("2026-11-26", 36, "hours", "2026-11-27T12:00"),
        ("2026-11-26T23:45", 30, "minutes", "2026-11-27T00:15"),
        ("2026-11-26T10:00", 1, "days", "2026-11-27T10:00"),
        ("2026-11-26T10:00+02:00", 1, "hours", "2026-11-26T11:00+02:00"),
    ],
)
def test_spans_are_added(clock: Time, start: str, amount: int, unit: SpanUnit, result: str) -> None:
    assert clock.add(start, amount, unit) == result


def test_spans_are_counted(clock: Time) -> None:
    assert clock.between("2026-11-26", "2026-12-24") == {"days": 28, "hours": 0, "minutes": 0}
    assert clock.between("2026-11-26T10:00", "2026-11-27T12:30") == {"days": 1, "hours": 2, "minutes": 30}
    assert clock.between("2026-11-27T01:00", "2026-11-26") == {"days": -1, "hours": -1, "minutes": 0}
    assert clock.between("2026-11-26T10:00Z", "2026-11-26T10:00-05:00")["hours"] == 5


def test_days_have_names(clock: Time) -> None:
    assert clock.weekday("2026-11-26") == "Thursday"
    assert clock.weekday("2000-01-01T10:00") == "Saturday"


def test_times_are_converted_between_zones(clock: Time) -> None:
    assert clock.convert_zone("2026-11-26T14:30", "Europe/Oslo", "Asia/Tokyo") == {
        "date": "2026-11-26",
        "time": "22:30",
        "weekday": "Thursday",
        "zone": "Asia/Tokyo (UTC+09:00)",
    }
    assert clock.convert_zone("2026-07-01T12:00", "Europe/Oslo", "UTC")["time"] == "10:00"
    assert clock.convert_zone("2026-11-26T14:30+05:00", "Europe/Oslo", "UTC")["time"] == "09:30"
    twice = clock.convert_zone("2026-10-25T02:30", "Europe/Oslo", "UTC")
    assert twice["time"] == "00:30"


@pytest.mark.parametrize("text", ["", "tomorrow", "26.11.2026", "2026-13-01", "2026-02-29", "x" * 500])
def test_what_is_no_date_is_told(clock: Time, text: str) -> None:
    with pytest.raises(
        PluginError, match=r"^A date is written like 2026-11-26 or 2026-11-26T14:30, but "
    ) as no:
        clock.weekday(text)
    assert len(str(no.value)) < 120


@pytest.mark.parametrize(
    ("zone", "advice"),
    [
        ("Oslo", "It is written like Europe/Oslo"),
        ("Europe/Osloo", "Europe/Oslo"),
        ("Narnia", "There is no time zone 'Narnia'"),
        ("../../etc/passwd", "There is no time zone"),
        ("/etc/passwd", "There is no time zone"),
        ("Europe", "There is no time zone"),
        ("a\0b", "There is no time zone"),
    ],
)
def test_an_unknown_zone_is_told_with_what_is_near(clock: Time, zone: str, advice: str) -> None:
    with pytest.raises(PluginError, match=advice):
        clock.now(zone)


def test_a_time_that_the_clocks_leave_out_is_told(clock: Time) -> None:
    with pytest.raises(PluginError, match=r"In Europe/Oslo there is no 02:30 on that day"):
        clock.convert_zone("2026-03-29T02:30", "Europe/Oslo", "UTC")


@pytest.mark.parametrize(
    ("amount", "unit"), [(9_000, "years"), (-30_000, "months"), (9_999_999, "days"), (10**12, "hours")]
)
def test_dates_end_somewhere(clock: Time, amount: int, unit: SpanUnit) -> None:
    with pytest.raises(PluginError, match=r"outside of the years|may be up to"):
        clock.add("2026-11-26", amount, unit)
    with pytest.raises(PluginError, match="outside of the years"):
        clock.convert_zone("0001-01-01T00:00", "Asia/Tokyo", "America/New_York")


def test_a_unit_that_is_none_is_told(clock: Time) -> None:
    with pytest.raises(PluginError, match="'decades' came"):
        clock.add("2026-11-26", 1, "decades")


def test_offsets_on_one_side_only_are_told(clock: Time) -> None:
    with pytest.raises(PluginError, match="Both or neither must have an offset"):
        clock.between("2026-11-26T10:00Z", "2026-11-26T10:00")
