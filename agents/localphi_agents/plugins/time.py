"""Now, date arithmetic, time zones."""

from __future__ import annotations

import calendar
import difflib
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from semantic_kernel.functions import kernel_function

from localphi_agents.plugins.bounds import bounds
from localphi_agents.plugins.errors import PluginError

SpanUnit = Literal["minutes", "hours", "days", "weeks", "months", "years"]

_FORM = "2026-11-26 or 2026-11-26T14:30"
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")  # in no locale
_DATE = {"maxLength": 32}
_ZONE = {"maxLength": 40}
_LIMIT = 10_000_000  # of any unit; beyond it every date is out of the calendar


def _local_clock() -> datetime:
    return datetime.now().astimezone()


class Time:
    """Tells the time and calculates with dates. Dates are ISO 8601: 2026-11-26 or 2026-11-26T14:30.

    clock: what time it is, with a time zone.
    """

    def __init__(self, clock: Callable[[], datetime] = _local_clock) -> None:
        self._clock = clock

    @bounds(zone=_ZONE)
    @kernel_function
    def now(
        self, zone: Annotated[str, "Time zone like Europe/Oslo or UTC; empty for the local one"] = ""
    ) -> Annotated[dict[str, str], "date, time, weekday and time zone"]:
        """Get the current date, time and weekday."""
        moment = self._clock()
        return _told(moment.astimezone(_zone(zone)) if zone.strip() else moment)

    @bounds(day=_DATE)
    @kernel_function
    def weekday(self, day: Annotated[str, "Date like 2026-11-26"]) -> Annotated[str, "Name of the weekday"]:
        """Get the day of the week of a date."""
        return _WEEKDAYS[_moment(day).weekday()]

    @bounds(start=_DATE, amount={"minimum": -_LIMIT, "maximum": _LIMIT})
    @kernel_function
    def add(
        self,
        start: Annotated[str, "Date or time to start from, like 2026-11-26 or 2026-11-26T14:30"],
        amount: Annotated[int, "How many; negative to go back"],
        unit: Annotated[SpanUnit, "Unit of the amount"],
    ) -> Annotated[str, "The new date or time"]:
        """Add days, weeks, months, years, hours or minutes to a date."""
        moment = _moment(start)
        if abs(amount) > _LIMIT:
            raise PluginError(f"The amount may be up to {_LIMIT}, but is {amount}.")
        try:
            moved = _moved(moment, amount, unit)
        except OverflowError as error:
            raise PluginError(f"{amount} {unit} from {start} is outside of the years 1 to 9999.") from error
        only_date = _is_date(start) and unit not in ("minutes", "hours")
        return moved.date().isoformat() if only_date else moved.isoformat(timespec="minutes")

    @bounds(start=_DATE, end=_DATE)
    @kernel_function
    def between(
        self,
        start: Annotated[str, "Date or time like 2026-11-26 or 2026-11-26T14:30"],
        end: Annotated[str, "Date or time like 2026-12-24 or 2026-12-24T18:00"],
    ) -> Annotated[dict[str, int], "days, hours and minutes; negative when the end is earlier"]:
        """Count the days, hours and minutes from one date or time to another."""
        first, last = _moment(start), _moment(end)
        if (first.tzinfo is None) != (last.tzinfo is None):
            raise PluginError(f"Both or neither must have an offset like +01:00, but {start} and {end} came.")
        minutes = round((last - first) / timedelta(minutes=1))
        sign = -1 if minutes < 0 else 1
        hours, rest = divmod(abs(minutes), 60)
        return {"days": sign * (hours // 24), "hours": sign * (hours % 24), "minutes": sign * rest}

    @bounds(time=_DATE, from_zone=_ZONE, to_zone=_ZONE)
    @kernel_function
    def convert_zone(
        self,
        time: Annotated[str, "Date and time like 2026-11-26T14:30"],
        from_zone: Annotated[str, "Time zone of that time, like Europe/Oslo"],
        to_zone: Annotated[str, "Time zone that is wanted, like Asia/Tokyo"],
    ) -> Annotated[dict[str, str], "date, time, weekday and time zone"]:
        """Convert a time from one time zone to another."""
        source, target = _zone(from_zone), _zone(to_zone)
        moment = _moment(time)
        try:
            if moment.tzinfo is None:
                moment = _placed(moment, source)
            return _told(moment.astimezone(target))
        except OverflowError as error:
            raise PluginError(f"{time} is outside of the years 1 to 9999 in {target.key}.") from error


def _told(moment: datetime) -> dict[str, str]:
    zone = moment.tzinfo
    offset = moment.isoformat()[-6:] if moment.utcoffset() is not None else ""
    return {
        "date": moment.date().isoformat(),
        "time": f"{moment:%H:%M}",
        "weekday": _WEEKDAYS[moment.weekday()],
        "zone": f"{zone.key} (UTC{offset})" if isinstance(zone, ZoneInfo) else f"UTC{offset}",
    }


def _placed(moment: datetime, zone: ZoneInfo) -> datetime:
    """The moment that this time is in the zone; the first where clocks go back and it comes twice."""
    placed = moment.replace(tzinfo=zone)
    if placed.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment:
        raise PluginError(f"In {zone.key} there is no {moment:%H:%M} on that day: the clocks go forward.")
    return placed


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text.strip())
    except ValueError:
        return False
    return True


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise PluginError(f"A date is written like {_FORM}, but {text[:40]!r} came.") from error


def _zone(name: str) -> ZoneInfo:
    asked = name.strip().replace(" ", "_")
    try:
        return ZoneInfo(asked)
    except (KeyError, ValueError, OSError) as error:  # unknown, a path, a folder of zones
        known = {zone.lower(): zone for zone in available_timezones()}
        if asked.lower() in known:
            return ZoneInfo(known[asked.lower()])
        cities = {zone.rsplit("/", 1)[-1]: zone for zone in known}
        near = difflib.get_close_matches(asked.lower().rsplit("/", 1)[-1], cities, n=2)
        advice = " or ".join(known[cities[city]] for city in near) or "Europe/Oslo or UTC"
        raise PluginError(f"There is no time zone {name[:40]!r}. It is written like {advice}.") from error


def _moved(moment: datetime, amount: int, unit: SpanUnit) -> datetime:
    match unit:
        case "minutes":
            return moment + timedelta(minutes=amount)
        case "hours":
            return moment + timedelta(hours=amount)
        case "days":
            return moment + timedelta(days=amount)
        case "weeks":
            return moment + timedelta(weeks=amount)
        case "months":
            return _months_later(moment, amount)
        case "years":
            return _months_later(moment, 12 * amount)
    raise PluginError(f"The unit is one of minutes, hours, days, weeks, months, years, but {unit!r} came.")


def _months_later(moment: datetime, months: int) -> datetime:
    """The same day of the month, or its last where it has no such day."""
    years, month = divmod(moment.month - 1 + months, 12)
    year = moment.year + years
    if not 1 <= year <= 9999:
        raise OverflowError(year)
    last = calendar.monthrange(year, month + 1)[1]
    return moment.replace(year=year, month=month + 1, day=min(moment.day, last))
