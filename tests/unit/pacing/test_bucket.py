from collections import deque
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.pacing.bucket import LEEWAY, MEMORY, TokenBucket

rates = st.floats(0.1, 5000)
costs = st.lists(st.integers(1, 24), min_size=1, max_size=60)


@settings(max_examples=200, deadline=None)
@given(
    rate=rates,
    leeway=st.floats(0, 2),
    asked=st.lists(st.tuples(st.floats(0, 0.5), st.integers(1, 24)), min_size=1, max_size=60),
)
def test_no_window_holds_more_than_the_rate_and_the_leeway_and_one_message(
    rate: float, leeway: float, asked: list[tuple[float, int]]
) -> None:
    bucket = TokenBucket(rate, leeway)
    now = 1000.0
    granted: list[tuple[float, int]] = []
    for idle, cost in asked:
        now = max(now + idle, bucket.opens_at(now + idle))
        bucket.take(cost, now)
        granted.append((now, cost))
    for first, (since, _) in enumerate(granted):
        total = 0
        for until, cost in granted[first:]:
            assert total <= rate * (until - since + leeway) * (1 + 1e-9) + 1e-6
            total += cost


@settings(max_examples=100, deadline=None)
@given(rate=rates, costs=costs, late=st.lists(st.floats(0, 0.015), min_size=60, max_size=60))
def test_under_saturation_late_timers_lose_nothing(rate: float, costs: list[int], late: list[float]) -> None:
    assert max(late) < LEEWAY
    bucket = TokenBucket(rate)
    now = start = 1000.0
    for cost, lateness in zip(costs, late, strict=False):
        if (opens_at := bucket.opens_at(now)) > now:
            now = opens_at + lateness
        bucket.take(cost, now)
    # What the rate allows from the first take on is what was taken, to the unit.
    assert (bucket.full_at - start) * rate == pytest.approx(sum(costs), rel=1e-6)


def test_a_bucket_that_nobody_used_saves_up_its_leeway_and_no_more() -> None:
    bucket = TokenBucket(100, leeway=0.05)
    granted = 0
    while bucket.opens_at(1e6) <= 1e6:
        bucket.take(1, 1e6)
        granted += 1
    assert granted == 6


@given(before=rates, after=rates, costs=costs)
def test_a_change_of_rate_keeps_the_debt(before: float, after: float, costs: list[int]) -> None:
    bucket = TokenBucket(before, leeway=0.0)
    for cost in costs:
        bucket.take(cost, 1000.0)
    bucket.change_rate(after, 1000.0, leeway=0.0)
    assert (bucket.opens_at(1000.0) - 1000.0) * after == pytest.approx(sum(costs))


def test_a_change_of_rate_saves_nothing_up() -> None:
    bucket = TokenBucket(100, leeway=0.5)
    bucket.change_rate(10, 1000.0, leeway=0.5)
    assert bucket.opens_at(1000.0) == 1000.0
    bucket.take(1, 1000.0)
    assert bucket.opens_at(1000.0) == pytest.approx(1000.1)


@pytest.mark.parametrize(("cost", "waits"), [(0, 2), (30, 2), (52, 3)])
def test_who_changes_its_rate_may_owe_something_in_any_case(cost: int, waits: float) -> None:
    bucket = TokenBucket(100, leeway=0.2)
    bucket.take(cost, 1000.0)
    bucket.change_rate(1, 1000.29, leeway=0.2, owed=2.0)
    assert bucket.opens_at(1000.29) == pytest.approx(1000.29 + waits)


@settings(max_examples=150, deadline=None)
@given(
    rate=st.floats(1, 1000),
    leeway=st.floats(0, 0.1),
    largest=st.integers(1, 24),
    refused=st.sampled_from((0.05, 0.5, 1.0)),
    seed=st.integers(0, 2**32),
)
def test_what_is_given_back_never_goes_out_again_as_a_burst(
    rate: float, leeway: float, largest: int, refused: float, seed: int
) -> None:
    """A block of refusals comes back all at once; what was accepted still holds the rate in every window."""
    random = Random(seed)
    bucket = TokenBucket(rate, leeway)
    now = 1000.0
    answers: deque[tuple[float, float, int, bool]] = deque()
    accepted: list[tuple[float, int]] = []
    for step in range(150):
        bad = 50 <= step < 100 and random.random() < refused
        cost = random.randint(1, largest)
        while True:
            if answers and answers[0][0] <= max(now, bucket.opens_at(now)):
                at, taken_at, returned, is_refused = answers.popleft()
                now = max(now, at)
                if is_refused:
                    bucket.give_back(returned, taken_at)
            else:
                break
        now = max(now, bucket.opens_at(now))
        bucket.take(cost, now)
        answers.append((now + 0.2, now, cost, bad))
        if not bad:
            accepted.append((now, cost))
    for first, (since, _) in enumerate(accepted):
        total = 0
        for until, cost in accepted[first:]:
            assert total <= rate * (until - since + leeway) + 1e-6
            total += cost


@settings(max_examples=150, deadline=None)
@given(
    rate=rates,
    before=st.lists(st.tuples(st.floats(0, 0.1), st.integers(1, 24)), max_size=10),
    after=st.lists(st.tuples(st.floats(0, 0.1), st.integers(1, 24)), max_size=10),
)
def test_what_is_given_back_is_as_if_it_had_never_been_taken(
    rate: float, before: list[tuple[float, int]], after: list[tuple[float, int]]
) -> None:
    used, spared = TokenBucket(rate), TokenBucket(rate)
    now = 1000.0
    for idle, cost in before:
        now += idle
        used.take(cost, now)
        spared.take(cost, now)
    used.take(1000, now)
    taken_at = now
    for idle, cost in after:
        now += idle
        used.take(cost, now)
        spared.take(cost, now)
    used.give_back(1000, taken_at)
    assert used.opens_at(now) == spared.opens_at(now)


def test_only_the_latest_takes_are_remembered() -> None:
    bucket = TokenBucket(100)
    for step in range(10_000):
        bucket.take(1, 1000 + step / 100)
    assert len(bucket._takes) <= MEMORY * 100 + 1


@given(rate=rates, costs=costs)
def test_what_is_given_back_at_once_leaves_no_trace(rate: float, costs: list[int]) -> None:
    bucket = TokenBucket(rate)
    for cost in costs:
        bucket.take(cost, 1000.0)
    before = bucket.opens_at(1000.0)
    bucket.take(7, 1000.5)
    bucket.give_back(7, 1000.5)
    assert bucket.opens_at(1000.0) == before


def test_what_is_given_back_long_after_it_was_taken_is_spent() -> None:
    bucket = TokenBucket(1.0)
    for second in range(10):
        bucket.take(1, 1000.0 + second)
    before = bucket.opens_at(1000.0)
    bucket.give_back(1, 1000.0)
    assert bucket.opens_at(1000.0) == before


@pytest.mark.parametrize(
    "change", [lambda bucket: bucket.close(1001.0), lambda bucket: bucket.change_rate(2.0, 1000.0, leeway=0.0)]
)
def test_what_is_given_back_does_not_undo_what_was_decided_since(change: Callable[[TokenBucket], None]) -> None:
    bucket = TokenBucket(1.0)
    bucket.take(1, 1000.0)
    change(bucket)
    before = bucket.opens_at(1000.0)
    bucket.give_back(1, 1000.0)
    assert bucket.opens_at(1000.0) == before
