from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.domain.counts import Counts
from dispatcher.domain.sender_health import DELAY_SPAN, SenderHealth
from dispatcher.feedback.control import CUT, LEAST, SILENCE, STEP, RateControl

TARGET = 3.0


def health(delay: float | None, *, left: int = 0, queued: int = 0, codes: dict[int, int] | None = None) -> SenderHealth:
    return SenderHealth(
        sender="72345",
        at="2026-11-24T18:00:00Z",
        queue_delay=delay,
        queue_delay_p95=delay,
        delays=left,
        queued_messages=queued,
        queued_segments=queued,
        left_segments=left,
        counts=Counts(codes=codes or {}),
    )


class Line:
    """A sender of *rate* whose queue at Twilio drains at *real* times that; tracking tells once a second."""

    def __init__(self, rate: float, real: float) -> None:
        self.real = real
        self.rate = rate
        self.control = RateControl(rate=rate, target=TARGET)
        self.now = 1000.0
        self.queue: deque[float] = deque()
        self.left: deque[tuple[float, float]] = deque()
        self.mean: float | None = None
        self._sending = self._draining = 0.0

    @property
    def depth(self) -> float:
        """How many seconds the last one in it will wait."""
        return len(self.queue) / (self.rate * self.real)

    def run(self, seconds: int) -> float:
        """Let *seconds* pass with work waiting all the time; return the deepest that the queue was."""
        deepest = 0.0
        for _ in range(seconds):
            for tenth in range(10):
                self._step(self.now + tenth / 10)
                deepest = max(deepest, self.depth)
            self.now += 1
            while self.left and self.left[0][0] < self.now - DELAY_SPAN:
                self.left.popleft()
            self.mean = self.mean if self.left else None
            self.control.hear(health(self.mean, left=len(self.left), queued=len(self.queue)), self.now)
        return deepest

    def _step(self, now: float) -> None:
        self._sending += self.rate * 0.99 * self.control.factor / 10
        while self._sending >= 1:
            self._sending -= 1
            self.queue.append(now)
        self._draining += self.rate * self.real / 10
        if not self.queue:
            self._draining = min(self._draining, 1.0)
        while self._draining >= 1 and self.queue:
            self._draining -= 1
            delay = now - self.queue.popleft()
            self.left.append((now, delay))
            # Half is forgotten within two seconds, whatever the rate.
            share = 1 - 0.5 ** (0.5 / (self.rate * self.real))
            self.mean = delay if self.mean is None else self.mean + share * (delay - self.mean)


@pytest.mark.parametrize("rate", [75.0, 100.0, 300.0, 500.0])
@pytest.mark.parametrize("real", [0.5, 0.6, 0.75, 0.9, 1.0])
def test_a_queue_that_drains_more_slowly_than_configured_is_found_out_and_kept_short(rate: float, real: float) -> None:
    line = Line(rate, real)
    line.run(30)
    assert line.run(120) < 10


@settings(max_examples=10, deadline=None)
@given(rate=st.floats(50, 500), real=st.floats(0.5, 0.8))
def test_a_sender_that_drains_as_configured_again_has_its_rate_back_in_three_minutes(rate: float, real: float) -> None:
    line = Line(rate, real)
    factors = []
    for _ in range(60):
        line.run(1)
        factors.append(line.control.factor)
    assert min(factors) < 1, "it may be on its way back by now, to be cut again"
    line.real = 1.0
    line.run(180)
    assert line.control.factor == 1.0


def test_a_sender_that_drains_as_configured_is_never_cut() -> None:
    line = Line(100, 1.0)
    line.run(120)
    assert line.control.factor == 1.0


def test_there_is_one_cut_a_measuring_period() -> None:
    control = RateControl(rate=100, target=TARGET)
    for second in range(13):
        control.hear(health(4.0, left=2000), 1000.0 + second)
    assert control.factor == CUT
    control.hear(health(4.0, left=2000), 1013.0)
    assert control.factor == pytest.approx(CUT * CUT)


def test_it_is_cut_to_below_what_was_seen_to_drain_and_never_to_nothing() -> None:
    control = RateControl(rate=100, target=TARGET)
    assert control.hear(health(4.0, left=300), 1000.0) == pytest.approx(0.27)
    assert RateControl(rate=100, target=TARGET).hear(health(4.0, left=0), 1000.0) == LEAST


@pytest.mark.parametrize("code", [30001, 30022, 30036])
def test_each_new_word_that_a_sender_was_too_fast_cuts_its_rate_once(code: int) -> None:
    control = RateControl(rate=100, target=TARGET)
    control.hear(health(0.5, left=900, codes={code: 2}), 1000.0)
    assert control.factor == CUT
    control.hear(health(0.5, left=900, codes={code: 2}), 1020.0)
    assert control.factor == pytest.approx(CUT * STEP)


def test_what_is_filtered_is_no_word_about_the_rate() -> None:
    control = RateControl(rate=100, target=TARGET)
    assert control.hear(health(0.5, left=900, codes={30007: 500}), 1000.0) == 1.0


def test_while_nothing_leaves_a_queue_that_is_not_empty_nobody_knows_and_nothing_changes() -> None:
    control = RateControl(rate=100, target=TARGET, factor=0.5)
    for second in range(100):
        control.hear(health(None, queued=50), 1000.0 + second)
    assert control.factor == 0.5


def test_without_a_tracker_the_rate_comes_back_in_steps() -> None:
    control = RateControl(rate=100, target=TARGET)
    control.hear(health(4.0, left=300), 1000.0)
    assert control.silent(1000.0 + SILENCE) == pytest.approx(0.27)
    for second in range(120):
        control.silent(1001.0 + SILENCE + second)
    assert control.factor == 1.0


def test_a_queue_that_is_too_long_and_gets_shorter_is_left_to_drain() -> None:
    control = RateControl(rate=100, target=TARGET)
    cut = control.hear(health(10.0, left=500), 1000.0)
    assert control.hear(health(8.0, left=500), 1100.0) == cut
    assert control.hear(health(8.0, left=500), 1101.0) < cut
