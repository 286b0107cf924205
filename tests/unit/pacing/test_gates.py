from math import inf
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.pacing.bucket import LEEWAY
from dispatcher.pacing.gates import HEADROOM, SLACK, ConcurrencyGate, Gate, QueueGate, RateGate, SuspensionGate
from dispatcher.pacing.turns import Share

NOW = 1000.0


def share(owned: int, of: int) -> Share:
    return Share(frozenset(range(owned)), of)


def at_once(gate: Gate, cost: float = 1, *, now: float = NOW) -> int:
    """Return how many messages of *cost* pass at *now*."""
    passed = 0
    while gate.opens_at(now) <= now:
        gate.take(cost, now)
        passed += 1
        assert passed < 10_000, "it never closes"
    return passed


# ---------------------------------------------------------------------- rates


def test_a_sender_is_driven_just_below_its_rate() -> None:
    gate = RateGate("sender", 100.0)
    now = NOW
    for _ in range(1000):
        now = max(now, gate.opens_at(now))
        gate.take(1, now)
    assert HEADROOM == 0.99
    assert 1000 / (now - NOW) == pytest.approx(99, rel=0.005)


@given(rate=st.floats(0.1, 2.0))
def test_thousands_of_slow_senders_that_fall_due_at_once_lose_nothing(rate: float) -> None:
    """The last of them is served late, each time."""
    gate = RateGate("sender", rate)
    now = NOW
    for _ in range(100):
        now = max(now, gate.opens_at(now)) + SLACK / rate
        gate.take(1, now)
    assert now - NOW <= 100 / (HEADROOM * rate) + 1e-3


@given(rate=st.one_of(st.floats(0.1, 5), st.floats(5, 200)), random=st.randoms())
def test_however_late_it_is_served_no_second_holds_more_than_five_percent_and_a_message_over_the_rate(
    rate: float, random: Random
) -> None:
    gate = RateGate("sender", rate)
    now, passed = NOW, []
    for _ in range(int(10 + 3 * rate)):
        now = max(now, gate.opens_at(now) + random.choice((0.0, 0.0, random.uniform(0, 0.4))))
        gate.take(1, now)
        passed.append(now)
    for first, since in enumerate(passed):
        assert sum(at < since + 1 for at in passed[first:]) <= rate * 1.05 + 1


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
def test_a_slow_sender_loses_nothing_when_it_is_served_an_eighth_of_a_second_late(rate: float) -> None:
    gate = RateGate("sender", rate)
    now = NOW
    for _ in range(100):
        now = max(now, gate.opens_at(now)) + 0.125
        gate.take(1, now)
    assert now - NOW <= 100 / (HEADROOM * rate) + 1e-3


@given(before=st.integers(1, 100), after=st.integers(1, 100), rate=st.floats(1, 1000))
def test_a_limit_that_changes_has_nothing_saved_up_and_then_saves_what_it_says(
    before: int, after: int, rate: float
) -> None:
    changed, plain = RateGate("campaign", 77.7, burst=before), RateGate("campaign", rate, burst=after)
    changed.limit_to(rate, NOW, burst=after)
    assert at_once(changed, now=NOW + 1e-6) == 1
    assert at_once(changed, now=NOW + 1e4) == at_once(plain, now=NOW + 1e4)


@given(rates=st.lists(st.sampled_from((0.5, 1.0, 40.0, 100.0)), min_size=1, max_size=20), seed=st.randoms())
def test_however_often_a_limit_changes_no_second_holds_more_than_the_highest_of_its_rates(
    rates: list[float], seed: Any
) -> None:
    gate = RateGate("sender", rates[0], by_turns=True)
    now, passed = NOW, []
    for rate in rates:
        gate.limit_to(rate, now)
        for _ in range(seed.randint(0, 60)):
            now = max(now, gate.opens_at(now))
            gate.take(1, now)
            passed.append(now)
        now += seed.random() / 20
    for first, since in enumerate(passed):
        assert sum(at < since + 1 for at in passed[first:]) <= max(rates) * (HEADROOM + 2 * LEEWAY) + 1


@given(rate=st.floats(0.1, 5000), burst=st.integers(1, 100))
def test_a_burst_is_as_large_as_it_says_and_never_too_small_for_late_timers(rate: float, burst: int) -> None:
    gate = RateGate("campaign", rate, burst=burst)
    to_spare = int(rate * 1.05) + 1 - rate * HEADROOM
    for_late_timers = rate * HEADROOM * max(LEEWAY, SLACK / rate, min(0.25, 0.15 * to_spare / rate))
    passed = at_once(gate) + at_once(gate, now=NOW + 1e-9)  # the second look is for what rounding kept back
    assert max(burst, int(for_late_timers - 1e-6) + 1) <= passed <= max(burst, int(for_late_timers + 1e-6) + 1)


@pytest.mark.parametrize("burst", [1, 2, 5])
def test_a_small_burst_costs_no_rate_when_timers_are_late(burst: int) -> None:
    gate = RateGate("account", 1000.0, burst=burst)
    now, passed = NOW, 0
    while now < NOW + 10:
        passed += at_once(gate, now=now)
        now = gate.opens_at(now) + 0.010
    assert passed / 10 >= 970


def test_an_account_counts_messages_and_a_sender_segments() -> None:
    account, sender = RateGate("account", 10.0, whole=True), RateGate("sender", 10.0)
    for gate in (account, sender):
        gate.take(11, NOW)
    assert account.opens_at(NOW) < NOW + 0.11
    assert sender.opens_at(NOW) > NOW + 1.0


def test_what_is_given_back_to_an_account_is_a_message() -> None:
    gate = RateGate("account", 10.0, whole=True)
    gate.take(1, NOW)
    opens_at = gate.opens_at(NOW)
    gate.take(11, NOW)
    gate.give_back(11, NOW)
    assert gate.opens_at(NOW) == pytest.approx(opens_at)


def test_a_closed_rate_opens_when_it_said() -> None:
    gate = RateGate("family", 2000.0, whole=True)
    gate.close(1.0, NOW)
    assert gate.opens_at(NOW) == pytest.approx(NOW + 1.0)
    gate.close(0.5, NOW)
    assert gate.opens_at(NOW) == pytest.approx(NOW + 1.0), "closing for less does not open it sooner"


@given(owned=st.integers(1, 99), used=st.integers(0, 1000), by_turns=st.booleans())
def test_a_share_of_a_rate_starts_with_nothing_saved_up(*, owned: int, used: int, by_turns: bool) -> None:
    gate = RateGate("sender", 100.0, burst=50, by_turns=by_turns)
    gate.take(used, NOW - 1)
    owed = max(int(by_turns), used - 99 - 49)  # without what a second brings, and what was saved up
    gate.share(share(owned, 100), NOW)
    one = 1 / (99 * owned / 100)
    opens_at = gate.opens_at(NOW)
    assert opens_at == pytest.approx(NOW + owed * one, abs=1.02 if by_turns else 1e-6)
    if not by_turns:
        gate.take(1, opens_at)
        assert gate.opens_at(opens_at) == pytest.approx(opens_at + one)


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32), by_turns=st.booleans(), whole=st.booleans())
def test_who_does_not_ask_a_rate_hears_the_same(*, seed: int, by_turns: bool, whole: bool) -> None:
    random, now = Random(seed), NOW
    gate = RateGate("sender", random.choice([0.5, 10.0, 200.0]), by_turns=by_turns, whole=whole)
    taken: list[tuple[int, float]] = []
    for _ in range(30):
        now += random.choice([0.0, random.expovariate(20.0), random.expovariate(0.5)])
        match random.randrange(7):
            case 3 if taken:
                gate.give_back(*taken.pop())
            case 0 | 1 | 2 | 3:
                taken.append((random.randint(1, 5), now))
                gate.take(*taken[-1])
            case 4:
                gate.close(random.uniform(0, 2), now)
            case 5:
                gate.scale(random.choice([0.5, 1.0]), now)
            case _:
                gate.share(share(random.randint(1, 4), 4), now)
        if gate.open_from == inf:
            assert by_turns, "only turns depend on when one asks"
        else:
            assert gate.open_from == gate.opens_at(now)


# ---------------------------------------------------------------------- queues


def test_a_queue_closes_when_it_holds_a_second_of_its_rate() -> None:
    gate = QueueGate(10.0, target=1.0)
    assert at_once(gate) == 11, "ten make a second; the eleventh is the one message beyond"
    assert gate.opens_at(NOW) == inf, "an answer decides"
    for _ in range(11):
        gate.model.accept(1, NOW)
    assert gate.opens_at(NOW) == pytest.approx(NOW + 0.1)


def test_a_share_of_a_queue_is_smaller_and_drains_more_slowly() -> None:
    gate = QueueGate(10.0, target=1.0)
    gate.share(share(1, 2), NOW)
    assert at_once(gate) == 6
    for _ in range(6):
        gate.model.accept(1, NOW)
    assert gate.opens_at(NOW) == pytest.approx(NOW + 0.2)


# ---------------------------------------------------------------------- concurrency


def test_an_account_with_all_it_may_have_in_flight_waits_for_an_answer() -> None:
    gate = ConcurrencyGate(3, Random(1))
    assert at_once(gate) == 3
    assert gate.opens_at(NOW) == inf
    gate.answered(0.1, NOW, healthy=True)
    assert gate.opens_at(NOW) <= NOW


def test_an_answer_is_late_after_twice_the_quickest_of_the_last_minutes() -> None:
    gate = ConcurrencyGate(3, Random(1))
    assert gate.answered(3.0, NOW, healthy=True) < 0
    assert gate.answered(0.001, NOW, healthy=False) < 0  # a refusal may come before Twilio has looked at anything
    assert gate.answered(0.1, NOW, healthy=True) < 0
    assert gate.answered(0.3, NOW + 59, healthy=True) == pytest.approx(0.1)
    assert gate.answered(5.0, NOW + 61, healthy=False) == pytest.approx(4.8)
    gate.answered(2.0, NOW + 61, healthy=True)
    assert gate.answered(2.1, NOW + 122, healthy=True) < 0, "it has become slow, and is not late for ever"


def test_behind_a_full_account_as_many_leave_as_are_answered() -> None:
    gate = ConcurrencyGate(10, Random(1))
    for _ in range(1000):
        gate.take(1, NOW)
        gate.answered(0.1, NOW, healthy=True)
    assert gate.lets_go_in(10) == 0
    assert at_once(gate) == 10
    assert gate.lets_go_in(0) == 0
    assert gate.lets_go_in(5) == pytest.approx(0.05, rel=0.01)
    gate.answered(9.0, NOW, healthy=False)
    assert gate.lets_go_in(1) == 0
    assert gate.lets_go_in(2) == pytest.approx(0.01, rel=0.01), "what a refusal takes says nothing"


def test_a_429_closes_the_account_for_a_random_while_that_doubles() -> None:
    longest = []
    for failures in range(10):
        pauses = []
        for seed in range(200):
            gate = ConcurrencyGate(80, Random(seed))
            for step in range(failures + 1):
                gate.take(1, NOW + 100 * step)
                gate.answered(0.1, NOW, healthy=False)
                gate.refuse(NOW + 100 * step, None, NOW + 100 * step)
            pauses.append(max(0.0, gate.opens_at(NOW) - NOW - 100 * failures))
        assert min(pauses) < 0.1 * max(pauses), "full jitter: from nothing to all of it"
        longest.append(max(pauses))
    assert longest[0] <= 0.05
    assert longest[4] == pytest.approx(0.8, rel=0.05)
    assert longest[-1] <= ConcurrencyGate.LAST_BACKOFF
    assert longest[-1] >= 0.9 * ConcurrencyGate.LAST_BACKOFF


def test_many_429_in_one_round_trip_are_one_reason_to_pause() -> None:
    gate = ConcurrencyGate(80, Random(1))
    for _ in range(10):
        gate.take(1, NOW)
    for _ in range(10):
        gate.answered(0.1, NOW, healthy=False)
        gate.refuse(NOW, None, NOW + 0.1)
    assert gate.opens_at(NOW) <= NOW + 0.1 + ConcurrencyGate.FIRST_BACKOFF


def test_an_answer_ends_the_doubling() -> None:
    gate = ConcurrencyGate(80, Random(1))
    for step in range(8):
        gate.refuse(NOW + step, None, NOW + step)
    gate.take(1, NOW + 100)
    gate.answered(0.1, NOW, healthy=True)
    gate.refuse(NOW + 100, None, NOW + 100)
    assert gate.opens_at(NOW) <= NOW + 100 + ConcurrencyGate.FIRST_BACKOFF


def test_retry_after_is_honoured_even_when_it_comes_with_a_later_429_of_the_same_round_trip() -> None:
    gate = ConcurrencyGate(80, Random(1))
    gate.take(1, NOW)
    gate.take(1, NOW)
    gate.refuse(NOW, None, NOW + 0.1)
    gate.refuse(NOW, 7.0, NOW + 0.2)
    assert gate.opens_at(NOW) == pytest.approx(NOW + 7.2)


@settings(max_examples=50, deadline=None)
@given(maximum=st.integers(1, 200), owned=st.integers(1, 100))
def test_a_share_of_an_account_is_at_least_one_request(maximum: int, owned: int) -> None:
    gate = ConcurrencyGate(maximum, Random(1))
    gate.share(share(owned, 100), NOW)
    for _ in range(500):
        gate.limit.succeed(binding=True)
    assert at_once(gate) == max(1, int(maximum * owned / 100))


def test_a_limit_grows_while_most_of_it_is_in_use_and_no_longer() -> None:
    gate = ConcurrencyGate(80, Random(1))
    at_once(gate)
    before = gate.limit.limit
    gate.answered(0.1, NOW, healthy=True)
    assert gate.limit.limit == before + 1, "it was full, and more was asked for"
    while gate.in_flight > 5:
        gate.answered(0.1, NOW, healthy=True)
    before = gate.limit.limit
    gate.answered(0.1, NOW, healthy=True)
    assert gate.limit.limit == before, "by then nobody missed anything"


# ---------------------------------------------------------------------- suspension


def test_a_suspended_sender_is_closed_until_its_time() -> None:
    gate = SuspensionGate()
    assert gate.opens_at(NOW) <= NOW
    gate.open_from = NOW + 30
    assert gate.opens_at(NOW) == NOW + 30
