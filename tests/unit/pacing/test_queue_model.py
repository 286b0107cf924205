"""The model against a queue that is really there: a fluid that drains, first in first out."""

from collections import deque
from heapq import heappop, heappush
from itertools import count
from math import ceil, inf
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.pacing.gates import QueueGate
from dispatcher.pacing.queue_model import BUNCH, QueueModel


class Fifo:
    """A queue as Twilio keeps it: each message takes its segments' time at the head."""

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._left: deque[float] = deque()
        self._at = now

    def put(self, cost: float, now: float) -> None:
        self.depth(now)
        self._left.append(cost)

    def depth(self, now: float) -> float:
        drained, self._at = (now - self._at) * self.rate, now
        while self._left and drained > 0:
            part = min(drained, self._left[0])
            drained -= part
            self._left[0] -= part
            if self._left[0] <= 1e-9:
                self._left.popleft()
        return sum(self._left)


steps = st.lists(
    st.tuples(st.sampled_from(("accept", "refuse", "wait", "rate")), st.integers(1, 24), st.floats(0, 5)), max_size=60
)


@settings(max_examples=200, deadline=None)
@given(rate=st.floats(0.2, 300), steps=steps)
def test_the_model_drains_as_a_real_queue_does(rate: float, steps: list[tuple[str, int, float]]) -> None:
    now = 1000.0
    model, fifo = QueueModel(rate), Fifo(rate, now)
    for step, cost, pause in steps:
        now += pause
        if step == "rate":
            fifo.depth(now)
            fifo.rate = pause + 0.1
            model.change_rate(pause + 0.1, now)
        elif step != "wait":
            model.depart(cost)
            if step == "accept":
                model.accept(cost, now)
                fifo.put(cost, now)
            else:
                model.refuse(cost)
        assert model.depth(now) == pytest.approx(fifo.depth(now), abs=1e-6)
    assert model.unanswered == 0


@settings(max_examples=200, deadline=None)
@given(
    rate=st.floats(0.2, 300),
    accepted=st.lists(st.integers(1, 24), max_size=20),
    unanswered=st.lists(st.integers(1, 24), max_size=5),
    target=st.floats(0, 100),
)
def test_it_says_when_queue_and_unanswered_are_down_to_a_depth(
    rate: float, accepted: list[int], unanswered: list[int], target: float
) -> None:
    model = QueueModel(rate)
    for cost in accepted:
        model.depart(cost)
        model.accept(cost, 1000.0)
    for cost in unanswered:
        model.depart(cost)
    when = max(1000.0, model.falls_to(target))
    if when == inf:
        assert model.unanswered > target
        return
    assert model.depth(when) + model.unanswered <= target + 1e-6
    if when > 1000.01:
        assert model.depth(when - 0.01) + model.unanswered > target


@settings(max_examples=150, deadline=None)
@given(
    rate=st.floats(0.3, 200),
    seconds=st.floats(0.2, 3),
    lost=st.sampled_from((0.0, 0.1, 1.0)),
    stalled=st.sampled_from((0.0, 0.1, 1.0)),
    largest=st.integers(1, 24),
    seed=st.integers(0, 2**32),
)
def test_the_queue_at_twilio_is_never_deeper_than_the_target_and_one_message(
    rate: float, seconds: float, lost: float, stalled: float, largest: int, seed: int
) -> None:
    """Whatever the network does: answers come early, late, in any order, or never."""
    random = Random(seed)
    gate = QueueGate(rate, seconds)
    order = count()
    now = 1000.0
    fifo = Fifo(rate, now)
    agenda: list[tuple[float, int, str, int]] = []

    def depart() -> None:
        cost = random.randint(1, largest)
        gate.take(cost, now)
        latency = 10.0 if random.random() < stalled else random.uniform(0, 0.5)
        outcome = random.choices(("accept", "refuse", "lose"), (1 - lost, 0.1, lost))[0]
        if outcome == "accept" or (outcome == "lose" and random.random() < 0.7):
            # Anywhere between departure and answer; a stall delivers all at once, at its end.
            heappush(agenda, (now + latency * random.choice((0.0, 0.5, 1.0)), next(order), "arrive", cost))
        heappush(agenda, (now + latency, next(order), outcome, cost))

    for _ in range(300):
        while gate.opens_at(now) <= now:
            depart()
            assert gate.model.unanswered <= rate * seconds + largest
        now = min(gate.opens_at(now), agenda[0][0] if agenda else inf)
        while agenda and agenda[0][0] <= now:
            _, _, event, cost = heappop(agenda)
            match event:
                case "arrive":
                    fifo.put(cost, now)
                    assert fifo.depth(now) <= rate * seconds + largest + 1e-6
                case "refuse":
                    gate.model.refuse(cost)
                case _:
                    gate.model.accept(cost, now)


@given(
    rate=st.floats(1.0, 500.0), bunch=st.lists(st.integers(1, 12), min_size=1, max_size=120), cost=st.integers(1, 12)
)
def test_what_the_network_held_back_is_no_second_helping(rate: float, bunch: list[int], cost: int) -> None:
    """A bunch arrives at once, and the sender goes on at its rate: the second holds no more than the rate and a bit."""
    model, now = QueueModel(rate), 1000.0
    for held_back in bunch:
        model.depart(held_back)
    for held_back in bunch:
        model.accept(held_back, now, is_late=True)
    left_after = max(0.0, 1.0 - max(0.0, model.bunched_until - now))
    followed = cost * ceil(left_after * rate / cost)
    assert sum(bunch) + followed <= max(sum(bunch), rate * (1 + BUNCH) + bunch[-1]) + cost


def test_answers_that_come_late_one_by_one_cost_no_rate() -> None:
    model = QueueModel(10.0)
    for beat in range(100):
        now = 1000.0 + beat / 10.0
        model.depart(1)
        model.accept(1, now, is_late=True)
        assert model.bunched_until <= now
