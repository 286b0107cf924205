import pytest

from dispatcher.control.progress import RECENTLY, Progress


def test_results_are_counted_by_status_and_code() -> None:
    progress = Progress(now=1000.0)
    progress.add("accepted", 2, None, 100.0)
    progress.add("accepted", 1, None, 100.0)
    progress.add("refused", 0, 21211, 100.0)
    assert (progress.done, progress.segments, dict(progress.statuses), dict(progress.codes)) == (
        3,
        3,
        {"accepted": 2, "refused": 1},
        {21211: 1},
    )


def test_the_time_left_is_that_at_the_rate_of_the_last_minute() -> None:
    progress = Progress(now=1000.0)
    for second in range(1000):
        progress.add("accepted", 1, None, float(second))
    assert progress.rate == pytest.approx(1.0, abs=0.02)
    assert progress.seconds_left(1500) == pytest.approx(500, rel=0.02)


def test_a_campaign_that_began_just_now_is_measured_over_its_own_time() -> None:
    progress = Progress(now=1000.0)
    for _ in range(100):
        progress.add("accepted", 1, None, 995.0)
    assert progress.rate == pytest.approx(20.0)


def test_nobody_knows_how_long_a_campaign_takes_that_stands_still() -> None:
    progress = Progress(now=1000.0)
    progress.add("accepted", 1, None, 1000.0 - RECENTLY - 1)
    assert progress.rate == 0.0
    assert progress.seconds_left(2) is None
    assert progress.seconds_left(1) == 0.0
