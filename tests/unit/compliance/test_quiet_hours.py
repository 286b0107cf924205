"""Nobody is texted when their clock says no: over every zone, every hour and both changes of the clock."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.compliance.quiet_hours import QuietHours
from dispatcher.domain.hours import Hours
from dispatcher.domain.job import Job
from dispatcher.domain.places import place_of
from dispatcher.domain.quiet_hours import DEFAULT_HOURS, QuietHoursSettings

ZONES = sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith(("Etc", "posix", "right")))
RESERVE = 21.0
# Both changes of the clock, north and south, with days around them.
MOMENTS = st.sampled_from(["2026-03-08", "2026-03-29", "2026-04-05", "2026-10-04", "2026-11-01", "2026-10-25"]).flatmap(
    lambda day: st.integers(-3 * 86400, 3 * 86400).map(
        lambda offset: datetime.fromisoformat(f"{day}T12:00:00+00:00").timestamp() + offset
    )
)
WEEKS = st.lists(
    st.none() | st.tuples(st.integers(0, 95), st.integers(1, 96)).filter(lambda span: span[0] < span[1]),
    min_size=7,
    max_size=7,
).map(lambda days: Hours(tuple(None if span is None else (15 * span[0], 15 * span[1]) for span in days)))


def quiet(hours: Mapping[str, Hours | str] | None = None, **more: Any) -> QuietHours:
    table = {place: Hours.parse(text) if isinstance(text, str) else text for place, text in (hours or {}).items()}
    return QuietHours(QuietHoursSettings(hours={**DEFAULT_HOURS, **table}, **more), reserve=RESERVE)


def job(to: str = "+12065550142", timezone: str | None = None, job_id: str = "1") -> Job:
    return Job(id=job_id, campaign="c", to=to, pool="all", body="Hi", timezone=timezone)


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def shows(moment: float, zone: str, hours: Hours) -> bool:
    """Say whether a clock in *zone* shows a time within *hours*."""
    local = datetime.fromtimestamp(moment, ZoneInfo(zone))
    span = hours.days[local.weekday()]
    return span is not None and span[0] <= local.hour * 60 + local.minute < span[1]


@given(moment=MOMENTS, zone=st.sampled_from(ZONES), hours=WEEKS)
@settings(max_examples=300)
def test_an_opening_lies_within_the_hours_by_the_clock_there(moment: float, zone: str, hours: Hours) -> None:
    opening = quiet({"US": hours, "US-WA": hours}).opening(job(timezone=zone), moment)
    if opening is None:
        assert not any(span and span[1] - span[0] >= 30 for span in hours.days)
        return
    assert max(moment, opening.opens) + RESERVE <= opening.closes
    step = opening.opens
    while step < opening.closes:
        assert shows(step, zone, hours), (datetime.fromtimestamp(step, UTC), zone, str(hours))
        step += 300
    assert shows(opening.closes - 1, zone, hours)


@pytest.mark.parametrize(
    ("day", "hours", "opens", "closes"),
    [
        # The clock shows 1:30 twice.
        ("2026-11-01", "00:00-01:30", "04:00", "05:30"),
        ("2026-11-01", "01:30-05:00", "06:30", "10:00"),
        # The clock never shows 2:30.
        ("2026-03-08", "00:00-02:30", "05:00", "06:30"),
        ("2026-03-08", "02:30-05:00", "07:30", "09:00"),
    ],
)
def test_where_the_clock_is_set_the_later_start_and_the_earlier_end_count(
    day: str, hours: str, opens: str, closes: str
) -> None:
    opening = quiet({"US": hours}).opening(job("+18005550142", timezone="America/New_York"), at(f"{day} 04:00"))
    assert opening == (at(f"{day} {opens}"), at(f"{day} {closes}"))


@given(moment=MOMENTS, zone=st.sampled_from(ZONES))
def test_nothing_waits_longer_than_the_hours_want(moment: float, zone: str) -> None:
    hours = Hours.parse("08:00-21:00")
    opening = quiet().opening(job("+18005550142", timezone=zone), moment)
    assert opening is not None
    # Minute by minute until it opens the clock says no, or too little is left of the day.
    step = moment
    while step < opening.opens:
        assert not (shows(step, zone, hours) and shows(step + RESERVE, zone, hours))
        step += 60
    assert opening.opens - moment < 12 * 3600


@given(moments=st.lists(MOMENTS, min_size=2, max_size=8), zone=st.sampled_from(ZONES))
def test_what_is_remembered_is_what_would_be_found_anew(moments: list[float], zone: str) -> None:
    remembering = quiet()
    for moment in moments:
        assert remembering.opening(job(timezone=zone), moment) == quiet().opening(job(timezone=zone), moment)


@pytest.mark.parametrize(
    ("to", "zones"),
    [
        ("+12065550142", ["America/Los_Angeles"]),
        ("+17015550142", ["America/Chicago", "America/Denver", "America/North_Dakota/Center"]),
        ("+18505550142", ["America/New_York", "America/Chicago"]),
        ("+6421000000", ["Pacific/Auckland"]),
        ("+18005550142", ["America/New_York", "Pacific/Honolulu", "Pacific/Guam", "America/St_Johns"]),
    ],
)
@pytest.mark.parametrize("hour", range(24))
def test_without_a_time_zone_all_zones_of_the_number_have_to_be_open(to: str, zones: list[str], hour: int) -> None:
    moment = at("2026-11-24") + hour * 3600
    opening = quiet().opening(job(to), moment)
    assert opening is not None
    place = place_of(to)
    hours = DEFAULT_HOURS.get(place, DEFAULT_HOURS["US"])
    for zone in zones:
        assert shows(opening.opens, zone, hours)
        assert shows(opening.closes - 1, zone, hours)


@pytest.mark.parametrize(
    ("to", "local", "zone", "is_open"),
    [
        ("+12125550142", "2026-11-24 08:00", "America/New_York", True),
        ("+12125550142", "2026-11-24 07:59", "America/New_York", False),
        ("+12125550142", "2026-11-24 20:59", "America/New_York", True),
        ("+12125550142", "2026-11-24 21:00", "America/New_York", False),
        ("+13055550142", "2026-11-24 20:30", "America/New_York", False),  # Florida
        ("+12145550142", "2026-11-22 11:00", "America/Chicago", False),  # Texas, on a Sunday
        ("+12145550142", "2026-11-22 12:00", "America/Chicago", True),
        ("+15045550142", "2026-11-22 12:00", "America/Chicago", False),  # Louisiana, on a Sunday
        ("+447700900123", "2026-11-22 20:00", "Europe/London", True),
        ("+33612345678", "2026-11-22 12:00", "Europe/Paris", False),  # on a Sunday
    ],
)
def test_states_and_countries_have_hours_of_their_own(to: str, local: str, zone: str, *, is_open: bool) -> None:
    moment = at(local, zone)
    opening = quiet().opening(job(to), moment)
    assert opening is not None
    assert (opening.opens <= moment) is is_open


def test_a_state_narrows_its_country_and_does_not_widen_it() -> None:
    hours = quiet({"US": "10:00-18:00", "US-WA": "08:00-17:00"})
    opening = hours.opening(job(), at("2026-11-24 00:00", "America/Los_Angeles"))
    assert opening == (at("2026-11-24 10:00", "America/Los_Angeles"), at("2026-11-24 17:00", "America/Los_Angeles"))


def test_on_a_holiday_of_the_state_or_its_country_nobody_is_texted() -> None:
    holidays = {"US": frozenset({date(2026, 12, 25)}), "US-WA": frozenset({date(2026, 12, 26)})}
    opening = quiet(holidays=holidays).opening(job(), at("2026-12-25 12:00", "America/Los_Angeles"))
    assert opening is not None
    assert opening.opens == at("2026-12-27 08:00", "America/Los_Angeles")


@given(st.text(min_size=1, max_size=20))
def test_what_waited_leaves_over_the_spread_each_at_its_own_time(job_id: str) -> None:
    hours = quiet(spread=900.0)
    waiting = job(job_id=job_id)
    opening = hours.opening(waiting, at("2026-11-24 03:00", "America/Los_Angeles"))
    assert opening is not None
    due = hours.due(waiting, opening)
    assert opening.opens <= due < opening.opens + 900
    assert due == hours.due(waiting, opening)


def test_the_morning_is_no_burst() -> None:
    hours = quiet(spread=900.0)
    waiting = [job(job_id=f"spring-{row:06}") for row in range(9000)]
    opening = hours.opening(waiting[0], at("2026-11-24 03:00", "America/Los_Angeles"))
    assert opening is not None
    minutes = [0] * 15
    for one in waiting:
        minutes[int((hours.due(one, opening) - opening.opens) // 60)] += 1
    assert min(minutes) > 450
    assert max(minutes) < 750


def test_a_spread_longer_than_the_opening_ends_before_it() -> None:
    hours = quiet({"US-WA": "08:00-08:10"}, spread=3600.0)
    for row in range(200):
        waiting = job(job_id=str(row))
        opening = hours.opening(waiting, at("2026-11-24 03:00", "America/Los_Angeles"))
        assert opening is not None
        assert hours.due(waiting, opening) + RESERVE < opening.closes


@pytest.mark.parametrize(
    ("to", "zone", "hours", "sentence"),
    [
        ("+12065550142", "America/Nowhere", "08:00-21:00", "no time zone"),
        ("+12065550142", "../../etc/passwd", "08:00-21:00", "no time zone"),
        ("+999123456789", None, "08:00-21:00", "give the job a timezone"),
        ("+12065550142", None, "mon 08:00-08:00:20", "no time in the next two weeks"),
    ],
)
def test_who_can_never_be_texted_is_told_why(to: str, zone: str | None, hours: str, sentence: str) -> None:
    closed = Hours((None,) * 7) if hours.startswith("mon") else Hours.parse(hours)
    never = quiet({"US": closed})
    assert never.opening(job(to, zone), at("2026-11-24")) is None
    assert sentence in never.why_never(job(to, zone))


def test_the_next_opening_is_within_two_weeks() -> None:
    hours = quiet({"US": "sun 08:00-21:00"})
    opening = hours.opening(job(), at("2026-11-23 00:00", "America/Los_Angeles"))
    assert opening is not None
    assert datetime.fromtimestamp(opening.opens, UTC) - datetime(2026, 11, 23, tzinfo=UTC) < timedelta(days=7)
