"""When a recipient may be texted: hours of the week where the number is at home, by the recipient's own clock.

Laws of the United States speak of the called party's local time (47 CFR 64.1200(c)(1)), and several states are
stricter. Nobody can tell from a number in which of its time zones its owner is, so all of them have to be open.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache, lru_cache
from typing import NamedTuple
from zlib import crc32
from zoneinfo import ZoneInfo

from dispatcher.domain.hours import Hours
from dispatcher.domain.job import Job
from dispatcher.domain.places import country_of, place_of
from dispatcher.domain.quiet_hours import QuietHoursSettings

# Two weeks hold every opening there is, but for holidays in a row that are longer.
_DAYS_AHEAD = 16
# Prefixes of numbers of which the zones are remembered.
_REMEMBERED = 65_536
_LONGEST_PREFIX = 10  # with the plus; phonenumbers tells zones by no more
_DAY_MINUTES = 24 * 60


# Area codes on both sides of a border between zones; phonenumbers knows the zone where most of their people live.
_EASTERN, _CENTRAL = "America/New_York", "America/Chicago"
_MOUNTAIN, _PACIFIC = "America/Denver", "America/Los_Angeles"
_STRADDLING: Mapping[str, tuple[str, ...]] = {
    f"+1{code}": zones
    for codes, zones in (
        ("219 270 364 423 448 574 606 812 850 906 930", (_EASTERN, _CENTRAL)),
        ("308 432 605 620 701 785", (_CENTRAL, _MOUNTAIN)),
        ("208 458 541 775 986", (_MOUNTAIN, _PACIFIC)),
        ("928", (_MOUNTAIN, "America/Phoenix")),
    )
    for code in codes.split()
}


class Opening(NamedTuple):
    """From when up to when one may be texted, in seconds of the epoch."""

    opens: float
    closes: float


class QuietHours:
    """Knows when each recipient may be texted. A message needs *reserve* seconds before the end to be there in time."""

    def __init__(self, settings: QuietHoursSettings, *, reserve: float) -> None:
        self._settings = settings
        self._reserve = reserve
        self._calendars: dict[tuple[str, tuple[str, ...]], _Calendar] = {}
        self._by_prefix = lru_cache(_REMEMBERED)(self._calendar_of_number)

    def opening(self, job: Job, at: float) -> Opening | None:
        """Return when *job* may be sent: the opening that lasts at *at*, or else the next one.

        None when there is none within two weeks, or nobody knows the recipient's time zone.
        """
        if job.timezone is None:
            calendar = self._by_prefix(job.to[:_LONGEST_PREFIX])
        else:
            calendar = self._calendar(place_of(job.to), (job.timezone,))
        return calendar.opening(at, self._reserve)

    def due(self, job: Job, opening: Opening) -> float:
        """Return when to send *job*, which waited for *opening*: not all at once, but each message at its own time."""
        share = crc32(job.id.encode()) / 2**32
        return opening.opens + share * min(self._settings.spread, (opening.closes - opening.opens - self._reserve) / 2)

    def why_never(self, job: Job) -> str:
        """Return a sentence that says why there is no opening for *job*."""
        if job.timezone is not None and _zone(job.timezone) is None:
            return "the job's timezone is no time zone, like America/Denver"
        if job.timezone is None and not _zones_of(job.to[:_LONGEST_PREFIX]):
            return "nobody knows the recipient's time zone, which quiet hours need; give the job a timezone"
        return "quiet hours leave no time in the next two weeks; look into quiet_hours.hours and holidays"

    def _calendar_of_number(self, prefix: str) -> "_Calendar":
        return self._calendar(place_of(prefix), _zones_of(prefix))

    def _calendar(self, place: str, zones: tuple[str, ...]) -> "_Calendar":
        calendar = self._calendars.get((place, zones))
        if calendar is None:
            calendar = _Calendar(self._hours(place), self._holidays(place), zones)
            self._calendars[place, zones] = calendar
        return calendar

    def _hours(self, place: str) -> Hours:
        """Return the hours of *place*: a state can narrow those of its country, and does not widen them."""
        table = self._settings.hours
        hours = table.get(country_of(place), table["default"])
        return hours.within(table[place]) if place in table else hours

    def _holidays(self, place: str) -> frozenset[date]:
        table = self._settings.holidays
        return table.get(country_of(place), frozenset()) | table.get(place, frozenset())


class _Calendar:
    """The openings of those who live by the same hours, in the same zones; keeps the one that was asked for last."""

    __slots__ = ("_asked", "_found", "_holidays", "_hours", "_zones")

    def __init__(self, hours: Hours, holidays: frozenset[date], names: Iterable[str]) -> None:
        self._hours = hours
        self._holidays = holidays
        self._zones = tuple(_zone(name) for name in names)
        self._asked = float("inf")
        self._found: Opening | None = None

    def opening(self, at: float, reserve: float) -> Opening | None:
        """Return the first opening that lasts for *reserve* seconds after *at*, or after it began."""
        found = self._found
        if found is not None and self._asked <= at and at + reserve <= found.closes:
            return found
        self._asked = at
        self._found = next((one for one in self._openings(at) if max(at, one.opens) + reserve <= one.closes), None)
        return self._found

    def _openings(self, at: float) -> list[Opening]:
        if not self._zones or None in self._zones:
            return []
        of_zones = [list(_joined(self._of_zone(zone, at))) for zone in self._zones if zone is not None]
        shared = of_zones[0]
        for other in of_zones[1:]:
            shared = list(_intersected(shared, other))
        return shared

    def _of_zone(self, zone: ZoneInfo, at: float) -> Iterable[Opening]:
        first = datetime.fromtimestamp(at, zone).date() - timedelta(days=1)
        for offset in range(_DAYS_AHEAD + 1):
            day = first + timedelta(days=offset)
            span = self._hours.days[day.weekday()]
            if span is None or day in self._holidays:
                continue
            # A time that the clock shows twice, or not at all, when it is set: the later start, the earlier end.
            opens = max(_instants(day, span[0], zone))
            closes = min(_instants(day, span[1], zone))
            if opens < closes:
                yield Opening(opens, closes)


def _instants(day: date, minute: int, zone: ZoneInfo) -> tuple[float, float]:
    days, minute = divmod(minute, _DAY_MINUTES)
    local = datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=zone) + timedelta(days=days)
    return local.replace(fold=0).timestamp(), local.replace(fold=1).timestamp()


def _joined(openings: Iterable[Opening]) -> Iterable[Opening]:
    """Yield *openings* with those that follow each other without a gap made one."""
    last: Opening | None = None
    for opening in openings:
        if last is not None and last.closes >= opening.opens:
            last = Opening(last.opens, opening.closes)
            continue
        if last is not None:
            yield last
        last = opening
    if last is not None:
        yield last


def _intersected(some: Sequence[Opening], others: Sequence[Opening]) -> Iterable[Opening]:
    one = two = 0
    while one < len(some) and two < len(others):
        opens = max(some[one].opens, others[two].opens)
        closes = min(some[one].closes, others[two].closes)
        if opens < closes:
            yield Opening(opens, closes)
        if some[one].closes <= others[two].closes:
            one += 1
        else:
            two += 1


@cache
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        return None


def _zones_of(prefix: str) -> tuple[str, ...]:
    """Return the names of every time zone that numbers with this *prefix* may be in."""
    zones = _zone_table()
    digits = prefix[1:]
    for length in range(len(digits), 0, -1):
        if (found := zones.get(digits[:length])) is not None:
            return tuple(dict.fromkeys((*found, *_STRADDLING.get(prefix[:5], ()))))
    return ()


@cache
def _zone_table() -> Mapping[str, tuple[str, ...]]:
    from phonenumbers.tzdata import TIMEZONE_DATA  # noqa: PLC0415 - loads for 0.1 s, and not everybody has quiet hours

    table: Mapping[str, tuple[str, ...]] = TIMEZONE_DATA
    return table
