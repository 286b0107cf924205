from datetime import UTC, date, datetime

from dispatcher.simulator.almanac import Almanac


def test_dates_count_on_from_the_start() -> None:
    almanac = Almanac(monotonic=1000.25, wall=datetime(2026, 11, 24, 7, 59, 59, 500_000, tzinfo=UTC))
    assert almanac.wall(1000.25) == datetime(2026, 11, 24, 7, 59, 59, 500_000, tzinfo=UTC)
    assert almanac.rfc2822(1000.25) == "Tue, 24 Nov 2026 07:59:59 +0000"
    assert almanac.rfc2822(1000.74) == "Tue, 24 Nov 2026 07:59:59 +0000"
    assert almanac.rfc2822(1000.76) == "Tue, 24 Nov 2026 08:00:00 +0000"
    assert almanac.rfc2822(1000.25) == "Tue, 24 Nov 2026 07:59:59 +0000"


def test_the_pacific_day_turns_at_its_own_midnight() -> None:
    almanac = Almanac(monotonic=0.0, wall=datetime(2026, 11, 24, 7, 59, tzinfo=UTC))
    assert almanac.pacific_day(0.0) == date(2026, 11, 23)
    assert almanac.pacific_day(60.0) == date(2026, 11, 24)
