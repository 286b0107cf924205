from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.simulator.fifo import SenderQueue
from dispatcher.simulator.message import Message


class Put(NamedTuple):
    gap: float
    segments: int
    validity: int = 36_000


# Powers of two and eighths are exact in binary, so that the brute-force model needs no tolerance.
rates = st.sampled_from([0.5, 1.0, 2.0, 4.0, 8.0])
gaps = st.integers(0, 24).map(lambda eighths: eighths / 8)
puts = st.lists(st.builds(Put, gaps, st.integers(1, 11), st.just(36_000)), min_size=1, max_size=40)
perishable_puts = st.lists(st.builds(Put, gaps, st.integers(1, 11), st.integers(1, 12)), min_size=1, max_size=40)


def message(seq: int, at: float, segments: int, validity: int = 36_000) -> Message:
    return Message(
        seq=seq, at=at, account="AC", service=None, sender="72345", to="+12065550142", segments=segments, media=0,
        body="", callback=None, mid=None, attempt=None, validity=validity, status="queued",
    )  # fmt: skip


def fill(queue: SenderQueue, given_puts: list[Put]) -> Iterator[tuple[Message, list[tuple[Message, float]]]]:
    """Put one message after the other, and yield each with what had left before it."""
    times = accumulate(put.gap for put in given_puts)
    for seq, (at, put) in enumerate(zip(times, given_puts, strict=True), 1):
        left = list(queue.advance(at))
        new = message(seq, at, put.segments, put.validity)
        queue.put(new, at)
        yield new, left


@given(rates, puts)
def test_the_queue_never_drains_faster_than_its_rate_over_any_span(rate: float, given_puts: list[Put]) -> None:
    queue = SenderQueue(rate)
    sent = [pair for _, left in fill(queue, given_puts) for pair in left] + list(queue.advance(1e6))
    assert len(sent) == len(given_puts)
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            amount = sum(message.segments for message, _ in sent[first : last + 1])
            start = sent[first][1] - sent[first][0].segments / rate
            assert amount <= rate * (sent[last][1] - start)


@given(rates, puts)
def test_messages_leave_in_order_and_none_before_it_was_accepted(rate: float, given_puts: list[Put]) -> None:
    queue = SenderQueue(rate)
    sent = [pair for _, left in fill(queue, given_puts) for pair in left] + list(queue.advance(1e6))
    assert [message.seq for message, _ in sent] == list(range(1, len(given_puts) + 1))
    assert all(at - message.at >= message.segments / rate for message, at in sent)
    assert all(message.status == "sent" and message.sent_at == at for message, at in sent)


@given(rates, puts)
def test_the_depth_is_what_the_messages_in_it_have_left(rate: float, given_puts: list[Put]) -> None:
    queue = SenderQueue(rate)
    ends: list[tuple[float, int]] = []
    deepest = 0.0
    for new, _ in fill(queue, given_puts):
        start = max(new.at, ends[-1][0] if ends else 0.0)
        ends.append((start + new.segments / rate, new.segments))
        depth = sum(min(segments, max(0.0, (end - new.at) * rate)) for end, segments in ends)
        deepest = max(deepest, depth)
        assert queue.depth(new.at) == depth
    assert (queue.deepest_segments, queue.deepest_seconds) == (deepest, deepest / rate)


@given(rates, perishable_puts)
def test_a_message_whose_turn_comes_after_its_validity_fails_when_that_ends(rate: float, given_puts: list[Put]) -> None:
    queue = SenderQueue(rate)
    messages, left = [], []
    for new, before in fill(queue, given_puts):
        messages.append(new)
        left += before
    left += queue.advance(1e6)
    expected, free = {}, 0.0
    for one in messages:
        start = max(one.at, free)
        if start > one.at + one.validity:
            expected[one.seq] = "failed", one.at + one.validity
        else:
            free = start + one.segments / rate
            expected[one.seq] = "sent", free
    assert {one.seq: (one.status, at) for one, at in left} == expected
    assert all(one.code == (30036 if one.status == "failed" else None) for one in messages)
    assert queue.depth(1e6) == 0


@given(rates, perishable_puts)
def test_what_expired_takes_no_room(rate: float, given_puts: list[Put]) -> None:
    queue = SenderQueue(rate)
    waiting: list[Message] = []
    for new, left in fill(queue, given_puts):
        gone = {message.seq for message, _ in left}
        waiting = [message for message in waiting if message.seq not in gone] + [new]
        total = sum(message.segments for message in waiting)
        assert total - waiting[0].segments <= queue.depth(new.at) <= total


@given(rates, puts, st.lists(st.tuples(gaps, st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0])), min_size=1, max_size=10))
def test_a_change_of_rate_holds_from_its_moment_on(
    rate: float, given_puts: list[Put], changes: list[tuple[float, float]]
) -> None:
    queue = SenderQueue(rate)
    *_, (last, _) = fill(queue, given_puts)
    now, depth, drain = last.at, queue.depth(last.at), rate
    for gap, factor in changes:
        now, depth = now + gap, max(0.0, depth - drain * gap)
        list(queue.advance(now))
        assert queue.depth(now) == pytest.approx(depth)
        queue.slow_to(factor, now)
        assert queue.depth(now) == pytest.approx(depth)
        drain = rate * factor


def test_a_stalled_queue_keeps_what_it_has() -> None:
    queue = SenderQueue(1.0, factor=0.0)
    queue.put(message(1, 0.0, 3), 0.0)
    assert list(queue.advance(1000.0)) == []
    queue.slow_to(1.0, 1000.0)
    assert [at for _, at in queue.advance(2000.0)] == [1003.0]


def test_what_stood_still_for_ten_hours_fails() -> None:
    queue = SenderQueue(1.0, factor=0.0)
    for seq in (1, 2):
        queue.put(message(seq, 5.0, 1), 5.0)
    queue.slow_to(1.0, 36_006.0)
    assert [(one.seq, one.code, at) for one, at in queue.advance(36_010.0)] == [(1, 30036, 36_005), (2, 30036, 36_005)]
    assert queue.depth(36_010.0) == 0


def test_ten_hours_of_the_rate_fit_and_no_segment_more() -> None:
    queue = SenderQueue(0.001)
    for seq in range(1, 36):
        queue.put(message(seq, 0.0, 1), 0.0)
    assert queue.has_room(1, 0.0)
    queue.put(message(36, 0.0, 1), 0.0)
    assert not queue.has_room(1, 0.0)
    list(queue.advance(1000.0))
    assert queue.has_room(1, 1000.0)
