from collections.abc import Callable
from math import inf
from typing import Any, cast

import pytest

from dispatcher.engine.driver import ROUNDING, TICK, Driver
from tests.clock import FakeClock


class Pipe:
    """A pipeline that is due when the test says."""

    def __init__(self) -> None:
        self.due = inf
        self.runs = 0
        self.due_after_run = inf

    def next_due(self) -> float:
        return self.due

    def run(self) -> None:
        self.runs += 1
        self.due = self.due_after_run


class Timer:
    def __init__(self, delay: float, callback: Callable[[], None]) -> None:
        self.delay = delay
        self.ring = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Loop:
    """Keeps timers; none rings by itself."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(delay, callback))
        return self.timers[-1]

    @property
    def armed(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.is_cancelled]


@pytest.fixture
def pipe() -> Pipe:
    return Pipe()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
async def driver(pipe: Pipe, loop: Loop, clock: FakeClock) -> Driver:
    driver = Driver(cast("Any", pipe), clock)
    driver._loop = cast("Any", loop)
    return driver


def test_nothing_is_armed_for_what_only_an_event_decides(driver: Driver, loop: Loop) -> None:
    driver.wake()
    assert not loop.timers


@pytest.mark.parametrize(("due", "delay"), [(0.0, 0.0), (999.0, 0.0), (1000.0, 0.0), (1000.002, 0.002), (1005.0, 5.0)])
def test_it_is_there_when_it_is_due(driver: Driver, loop: Loop, pipe: Pipe, due: float, delay: float) -> None:
    pipe.due = due
    driver.wake()
    assert [timer.delay for timer in loop.timers] == [pytest.approx(delay, abs=2 * ROUNDING)]
    assert not pipe.runs, "what woke it goes on first"


@pytest.mark.parametrize(("after", "delay"), [(0.0, TICK), (TICK / 2, TICK / 2), (TICK, 0.0), (5.0, 0.0)])
def test_it_runs_once_a_tick_at_most(
    driver: Driver, loop: Loop, pipe: Pipe, clock: FakeClock, after: float, delay: float
) -> None:
    pipe.due = 0.0
    driver.wake()
    loop.timers[-1].ring()
    clock.advance(after)
    pipe.due = 0.0
    driver.wake()
    assert loop.timers[-1].delay == pytest.approx(delay, abs=2 * ROUNDING)
    assert len(loop.timers) == 2


def test_who_rings_with_the_ticks_end_is_not_asked_for_anything_earlier(
    driver: Driver, loop: Loop, pipe: Pipe, clock: FakeClock
) -> None:
    driver._tick()
    pipe.due = 1000.0 + TICK
    driver.wake()
    clock.advance(TICK / 2)
    pipe.due = 0.0
    driver.wake()
    assert [timer.delay for timer in loop.timers] == [pytest.approx(TICK, abs=2 * ROUNDING)]


def test_many_wakes_are_one_timer(driver: Driver, loop: Loop, pipe: Pipe) -> None:
    pipe.due = 0.0
    for _ in range(1000):
        driver.wake()
    assert len(loop.timers) == 1


def test_what_is_due_earlier_takes_the_timer_over_and_what_is_due_later_does_not(
    driver: Driver, loop: Loop, pipe: Pipe
) -> None:
    for due in (1010.0, 1020.0, 1005.0):
        pipe.due = due
        driver.wake()
    assert [timer.delay for timer in loop.armed] == [pytest.approx(5.0, abs=2 * ROUNDING)]


def test_after_each_run_it_is_armed_for_the_next(driver: Driver, loop: Loop, pipe: Pipe, clock: FakeClock) -> None:
    pipe.due = 1005.0
    driver.wake()
    clock.advance(5.0)
    pipe.due_after_run = 1007.0
    loop.timers[-1].ring()
    assert pipe.runs == 1
    assert loop.timers[-1].delay == pytest.approx(2.0, abs=2 * ROUNDING)
    clock.advance(2.0)
    pipe.due_after_run = inf
    loop.timers[-1].ring()
    assert pipe.runs == 2
    assert len(loop.timers) == 2


def test_a_run_that_has_become_needless_is_left_to_the_pipeline(
    driver: Driver, loop: Loop, pipe: Pipe, clock: FakeClock
) -> None:
    """It was halted after the timer was armed: `run` does nothing, and nobody is armed until the next `wake`."""
    pipe.due = 1005.0
    driver.wake()
    clock.advance(5.0)
    loop.timers[-1].ring()
    assert len(loop.timers) == 1
    pipe.due = 1006.0
    driver.wake()
    assert loop.timers[-1].delay == pytest.approx(1.0, abs=2 * ROUNDING)


@pytest.mark.parametrize("is_armed", [True, False])
def test_catching_up_runs_at_once_whatever_ran_lately(
    driver: Driver, loop: Loop, pipe: Pipe, *, is_armed: bool
) -> None:
    driver._tick()
    if is_armed:
        pipe.due = 1000.004
        driver.wake()
    pipe.due, pipe.due_after_run = 1000.0, 1007.0
    driver.catch_up()
    assert pipe.runs == 2
    assert [timer.delay for timer in loop.armed] == [pytest.approx(7.0, abs=2 * ROUNDING)]


def test_what_catches_up_soon_does_so_once_for_all_of_a_round(driver: Driver, loop: Loop, pipe: Pipe) -> None:
    driver._tick()
    for runs in (2, 3):
        pipe.due = 1000.0
        for _ in range(100):
            driver.catch_up_soon()
        assert pipe.runs == runs - 1, "what else the loop has read comes first"
        assert len(loop.soon) == 1
        loop.soon.pop()()
        assert pipe.runs == runs


@pytest.mark.parametrize("since", [0.001, 0.003])
def test_what_falls_due_by_itself_keeps_to_the_tick_when_others_catch_up(
    driver: Driver, loop: Loop, pipe: Pipe, clock: FakeClock, since: float
) -> None:
    driver._tick()
    clock.advance(0.003)
    pipe.due = 1000.0 + since
    driver.catch_up()
    assert pipe.runs == 1
    assert [timer.delay for timer in loop.armed] == [pytest.approx(TICK - 0.003, abs=2 * ROUNDING)]
