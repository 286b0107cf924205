import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.pacing.bucket import LEEWAY, TokenBucket

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
        now = max(now + idle, bucket.opens_at())
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
        if bucket.opens_at() > now:
            now = bucket.opens_at() + lateness
        bucket.take(cost, now)
    # What the rate allows from the first take on is what was taken, to the unit.
    assert (bucket.full_at - start) * rate == pytest.approx(sum(costs), rel=1e-6)


def test_a_bucket_that_nobody_used_saves_up_its_leeway_and_no_more() -> None:
    bucket = TokenBucket(100, leeway=0.05)
    granted = 0
    while bucket.opens_at() <= 1e6:
        bucket.take(1, 1e6)
        granted += 1
    assert granted == 6


@given(before=rates, after=rates, costs=costs)
def test_a_change_of_rate_keeps_the_debt(before: float, after: float, costs: list[int]) -> None:
    bucket = TokenBucket(before, leeway=0.0)
    for cost in costs:
        bucket.take(cost, 1000.0)
    bucket.change_rate(after, 1000.0)
    assert (bucket.opens_at() - 1000.0) * after == pytest.approx(sum(costs))


def test_a_change_of_rate_makes_no_debt_of_savings() -> None:
    bucket = TokenBucket(10)
    bucket.change_rate(1, 1000.0)
    assert bucket.opens_at() <= 1000.0


@given(rate=rates, costs=costs, returned=st.integers(1, 24))
def test_what_is_given_back_opens_the_bucket_so_much_sooner(rate: float, costs: list[int], returned: int) -> None:
    used, spared = TokenBucket(rate), TokenBucket(rate)
    used.take(returned, 1000.0)
    for cost in costs:
        used.take(cost, 1000.0)
        spared.take(cost, 1000.0)
    used.give_back(returned)
    assert used.opens_at() == pytest.approx(spared.opens_at())


def test_an_emptied_bucket_lets_one_pass_and_has_nothing_saved_up() -> None:
    bucket = TokenBucket(100, leeway=0.5)
    bucket.take(10_000, 1000.0)
    bucket.empty(1000.0)
    assert bucket.opens_at() == 1000.0
    bucket.take(1, 1000.0)
    assert bucket.opens_at() == pytest.approx(1000.01)
