from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.transport.timer_wheel import TICK, Timed, TimerWheel
from tests.clock import FakeClock


class Thing(Timed):
    pass


def pass_time(clock: FakeClock, wheel: TimerWheel[Thing], seconds: float) -> list[Thing]:
    """Let *seconds* pass in ticks; return what was overdue."""
    overdue: list[Thing] = []
    for _ in range(round(seconds / TICK)):
        clock.advance(TICK)
        overdue += wheel.turn()
    return overdue


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 3), st.floats(0, 30)),
        st.tuples(st.just("forget"), st.integers(0, 3), st.just(0.0)),
        st.tuples(st.just("pass"), st.just(0), st.floats(0, 8)),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.floats(0, 1))
def test_a_thing_is_told_once_after_its_last_deadline_and_within_two_ticks(
    steps: list[tuple[str, int, float]], offset: float
) -> None:
    clock = FakeClock()
    clock.advance(offset)
    wheel: TimerWheel[Thing] = TimerWheel(clock)
    things = [Thing() for _ in range(4)]
    expected: dict[Thing, float] = {}
    for what, number, seconds in [*steps, ("pass", 0, 40.0)]:
        if what == "set":
            wheel.set(things[number], seconds)
            expected[things[number]] = clock.monotonic() + seconds
        elif what == "forget":
            wheel.forget(things[number])
            expected.pop(things[number], None)
        else:
            for _ in range(round(seconds / TICK)):
                clock.advance(TICK)
                now = clock.monotonic()
                for thing in wheel.turn():
                    assert expected.pop(thing) <= now
                assert all(deadline > now - 2 * TICK for deadline in expected.values())
    assert not expected


def test_a_deadline_that_moves_on_with_every_request_is_looked_at_seldom() -> None:
    clock = FakeClock()
    wheel: TimerWheel[Thing] = TimerWheel(clock)
    thing = Thing()
    for _ in range(10_000):
        wheel.set(thing, 20.0)
        clock.advance(0.001)
        wheel.set(thing, 15.0)
        assert sum(map(len, wheel._slots.values())) <= 2
    assert list(wheel.turn()) == []


def test_what_is_set_anew_while_others_are_told_is_not_told() -> None:
    clock = FakeClock()
    wheel: TimerWheel[Thing] = TimerWheel(clock)
    first, second = Thing(), Thing()
    wheel.set(first, 0.0)
    wheel.set(second, 0.0)
    clock.advance(TICK)
    told = wheel.turn()
    assert next(told) is first
    wheel.set(second, 1.0)
    assert list(told) == []
    assert pass_time(clock, wheel, 1.2) == [second]


def test_after_a_pause_of_the_process_answers_are_read_before_they_are_given_up() -> None:
    clock = FakeClock()
    wheel: TimerWheel[Thing] = TimerWheel(clock)
    thing = Thing()
    wheel.set(thing, 5.0)
    clock.advance(60.0)
    assert list(wheel.turn()) == []
    assert pass_time(clock, wheel, TICK) == [thing]


def test_a_loop_that_is_always_late_gives_up_all_the_same() -> None:
    clock = FakeClock()
    wheel: TimerWheel[Thing] = TimerWheel(clock)
    thing = Thing()
    wheel.set(thing, 5.0)
    told: list[Thing] = []
    for _ in range(10):
        clock.advance(1.0)
        told += wheel.turn()
    assert told == [thing]
