"""The limit of requests in flight, in an account of which only the answers are known."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.pacing.adaptive import CUT, AdaptiveConcurrency
from tests.unit.pacing.account import Latency, overload

EVEN: Latency = lambda _: 0.15  # noqa: E731 - a table reads better with them in a line
JITTER: Latency = lambda random: random.uniform(0.1, 0.2)  # noqa: E731 - same
WITH_TAIL: Latency = lambda random: random.choices((0.14, random.uniform(0.15, 1.0)), (0.97, 0.03))[0]  # noqa: E731

latencies = pytest.mark.parametrize("latency", [EVEN, JITTER, WITH_TAIL], ids=["even", "jitter", "tail"])
# Twilio's stand-in answers a 429 at once; a request that went all the way takes as long as any.
refusals = pytest.mark.parametrize("refusal", [0.001, 0.15], ids=["at once", "late"])

FULL = 20 / 0.157  # what 20 in flight carry at the slowest of these latencies' means


@latencies
@refusals
def test_after_five_seconds_at_most_one_request_in_a_hundred_meets_429(latency: Latency, refusal: float) -> None:
    run = overload(seconds=35, ceiling=lambda _: 20, latency=latency, refusal=refusal)
    assert run.share_refused(5, 15) <= 0.01
    assert run.share_refused(5, 35) <= 0.01
    assert run.accepted_a_second(5, 35) >= 0.9 * FULL


@latencies
def test_a_ceiling_that_rises_is_found_within_a_minute(latency: Latency) -> None:
    run = overload(
        seconds=100, ceiling=lambda seconds: 20 if seconds < 30 else 40, latency=latency, refusal=0.02, seed=1
    )
    assert run.seconds_until(0.9 * 2 * FULL, since=30) <= 60
    assert run.share_refused(90, 100) <= 0.01


@latencies
def test_a_ceiling_that_falls_is_found_too(latency: Latency) -> None:
    run = overload(seconds=60, ceiling=lambda seconds: 40 if seconds < 30 else 20, latency=latency, refusal=0.02)
    assert run.share_refused(40, 60) <= 0.01
    assert run.accepted_a_second(40, 60) >= 0.9 * FULL


@latencies
def test_a_storm_of_429_is_over_within_a_minute_of_its_end(latency: Latency) -> None:
    run = overload(
        seconds=110,
        ceiling=lambda _: 20,
        latency=latency,
        refusal=0.05,
        storm=lambda seconds: 0.3 if 10 < seconds < 40 else 0.0,
    )
    assert run.seconds_until(0.9 * FULL, since=40) <= 60


def test_a_429_now_and_then_by_chance_costs_little() -> None:
    # One in 200 has nothing to do with the ceiling; a memory that trusts each of them ends at one in flight.
    runs = [
        overload(seconds=65, ceiling=lambda _: 20, latency=JITTER, refusal=0.1, storm=lambda _: 0.005, seed=seed)
        for seed in range(5)
    ]
    assert sum(run.accepted_a_second(5, 65) for run in runs) / 5 >= 0.9 * FULL


@settings(max_examples=25, deadline=None)
@given(maximum=st.integers(1, 100), ceiling=st.integers(1, 120), share=st.floats(0, 1), seed=st.integers(0, 1000))
def test_there_is_one_cut_a_round_trip(maximum: int, ceiling: int, share: float, seed: int) -> None:
    # `overload` itself asserts that the limit stays between 1 and the maximum.
    run = overload(
        seconds=6,
        ceiling=lambda _: ceiling,
        latency=JITTER,
        refusal=0.15,
        storm=lambda _: share,
        maximum=maximum,
        seed=seed,
    )
    for (_, cut_at, _), (departed_at, _, _) in pairwise(run.cuts):
        assert departed_at >= cut_at, "what a request met that left before the last cut was cut for already"


def test_the_limit_doubles_each_round_trip_until_the_first_429() -> None:
    limit = AdaptiveConcurrency(1000.0)
    for expected in (20, 40, 80):
        for _ in range(int(limit.limit)):
            limit.succeed(binding=True)
        assert limit.limit == expected


def test_a_limit_that_kept_nobody_waiting_does_not_grow() -> None:
    limit = AdaptiveConcurrency(80.0)
    before = limit.limit
    limit.succeed(binding=False)
    assert limit.limit == before


def test_a_cut_takes_three_tenths() -> None:
    limit = AdaptiveConcurrency(80.0)
    assert limit.refuse(1.0, 2.0)  # ends the slow start
    before = limit.limit
    assert limit.refuse(3.0, 4.0)
    assert limit.limit == pytest.approx(before * CUT)


@given(seed=st.integers(0, 1000), maximum=st.floats(1, 50))
def test_a_lower_maximum_holds_at_once(seed: int, maximum: float) -> None:
    random = Random(seed)
    limit = AdaptiveConcurrency(80.0)
    limit.change_maximum(maximum)
    for step in range(200):
        if random.random() < 0.1:
            limit.refuse(float(step), float(step))
        else:
            limit.succeed(binding=True)
        assert 1.0 <= limit.limit <= maximum
