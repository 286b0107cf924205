"""What is told of senders: how long messages wait at Twilio, and how many do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.counts import NOTHING, Counts
from dispatcher.domain.sender_health import DELAY_SPAN, SenderHealth
from dispatcher.tracking.health import HALF_LIFE, Senders

NOW = 1_800_000_000.0


def told(senders: Senders, now: float) -> SenderHealth:
    (state,) = senders.tell(lambda _: NOTHING, now)
    return state


def test_what_waits_and_what_leaves_is_counted() -> None:
    senders = Senders({"72345": (3, 5)})
    senders.queue("72345", 2, 4)
    senders.queue("72345", -1, -1)
    senders.left("72345", 2, NOW, 0.5)
    senders.left("72345", 1, NOW - 3, None)
    state = told(senders, NOW)
    assert (state.queued_messages, state.queued_segments, state.left_segments, state.delays) == (4, 8, 3, 1)
    assert (state.sender, state.at) == ("72345", "2027-01-15T08:00:00.000+00:00")


def test_the_mean_forgets_half_within_its_half_life() -> None:
    senders = Senders({})
    senders.left("72345", 1, NOW, 8.0)
    assert told(senders, NOW).queue_delay == 8.0
    senders.left("72345", 1, NOW + HALF_LIFE, 0.0)
    assert told(senders, NOW + HALF_LIFE).queue_delay == 4.0


def test_when_nothing_left_lately_no_delay_is_told_and_then_nothing_more() -> None:
    senders = Senders({})
    senders.left("72345", 1, NOW, 8.0)
    assert told(senders, NOW).delays == 1
    assert senders.tell(lambda _: NOTHING, NOW + 1) == []
    state = told(senders, NOW + DELAY_SPAN)
    assert (state.queue_delay, state.queue_delay_p95, state.delays, state.left_segments) == (None, None, 0, 0)
    assert senders.tell(lambda _: NOTHING, NOW + DELAY_SPAN + 1) == []


def test_other_counts_are_another_state() -> None:
    senders = Senders({"72345": (1, 1)})
    told(senders, NOW)
    (state,) = senders.tell(lambda _: Counts(failed=1, codes={30007: 1}), NOW + 1)
    assert state.counts.codes == {30007: 1}


def test_95_of_100_are_not_above_the_95th_percentile() -> None:
    senders = Senders({})
    for seconds in range(1, 101):
        senders.left("72345", 1, NOW, 1.1**seconds)
    assert told(senders, NOW).queue_delay_p95 == pytest.approx(1.1**95, rel=0.055)


@given(st.lists(st.floats(0.001, 36000), min_size=1, max_size=200))
def test_the_percentile_is_right_to_within_five_percent(delays: list[float]) -> None:
    senders = Senders({})
    for delay in delays:
        senders.left("72345", 1, NOW, delay)
    right = sorted(delays)[-(-len(delays) * 95 // 100) - 1]
    found = told(senders, NOW).queue_delay_p95
    assert found is not None
    assert found == pytest.approx(right, rel=0.055, abs=0.0006)


def test_the_first_delay_after_a_pause_is_the_mean() -> None:
    senders = Senders({"72345": (1, 1)})
    assert told(senders, NOW).queue_delay is None
    senders.left("72345", 1, NOW + 0.5, 8.0)
    assert told(senders, NOW + 0.5).queue_delay == 8.0
