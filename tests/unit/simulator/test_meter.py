from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.simulator.meter import Meter, PeakWindow

# Sixteenths are exact in binary: arrivals exactly a width apart do occur.
arrivals = st.lists(st.tuples(st.integers(0, 40).map(lambda n: n / 16), st.integers(1, 24)), min_size=1, max_size=60)


def timed(given_arrivals: list[tuple[float, int]]) -> list[tuple[float, int]]:
    times = accumulate(gap for gap, _ in given_arrivals)
    return [(at, amount) for at, (_, amount) in zip(times, given_arrivals, strict=True)]


@given(arrivals, st.sampled_from([0.125, 1.0]))
def test_the_peak_is_that_of_the_fullest_window_there_is(given_arrivals: list[tuple[float, int]], width: float) -> None:
    window = PeakWindow(width)
    for at, amount in timed(given_arrivals):
        window.add(amount, at)
    fullest = max(
        sum(amount for at, amount in timed(given_arrivals) if start <= at < start + width)
        for start, _ in timed(given_arrivals)
    )
    assert window.peak == fullest


@given(arrivals)
def test_a_window_holds_what_came_within_its_width(given_arrivals: list[tuple[float, int]]) -> None:
    window = PeakWindow(1.0)
    for at, amount in timed(given_arrivals):
        window.add(amount, at)
    now = timed(given_arrivals)[-1][0] + 0.5
    assert window.amount(now) == sum(amount for at, amount in timed(given_arrivals) if now - at < 1.0)


def test_the_achieved_rate_leaves_out_the_last_message() -> None:
    meter = Meter()
    for at, segments in ((10.0, 7), (11.0, 2), (12.0, 4)):
        meter.add(segments, at)
    assert meter.achieved_rate == pytest.approx(4.5)
    assert (meter.messages, meter.segments, meter.largest, meter.first_at, meter.last_at) == (3, 13, 7, 10.0, 12.0)


def test_one_moment_has_no_rate() -> None:
    meter = Meter()
    assert meter.achieved_rate is None
    meter.add(1, 5.0)
    meter.add(1, 5.0)
    assert meter.achieved_rate is None


def test_a_meter_knows_its_fullest_second_and_tenth() -> None:
    meter = Meter()
    for at, segments in ((0.0, 1), (0.05, 2), (0.8125, 4), (0.9375, 8), (1.0, 16)):
        meter.add(segments, at)
    assert (meter.peak_1s, meter.peak_100ms) == (30, 24)
