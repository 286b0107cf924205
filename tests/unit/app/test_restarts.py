"""When a worker that died is started again."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.app.restarts import (
    FIRST_CEILING,
    FORGIVEN_AFTER,
    LONGEST_CEILING,
    POISONED_AT,
    POISONED_WITHIN,
    REST,
    START_UP,
    YOUNG,
    Restarts,
)

SESSION_TIMEOUT = 15.0


class Highest(Random):
    """Draws the highest number of each range."""

    def uniform(self, _low: float, high: float) -> float:
        return high


class Lowest(Random):
    """Draws the lowest number of each range."""

    def uniform(self, low: float, _high: float) -> float:
        return low


def test_the_wait_doubles_up_to_half_a_minute() -> None:
    restarts = Restarts(Highest(), SESSION_TIMEOUT)
    waits = [restarts.died(now, lived=YOUNG, left_group=True).after for now in range(0, 8000, 1000)]
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


def test_workers_that_die_together_come_back_apart() -> None:
    waits = [Restarts(Random(seed), SESSION_TIMEOUT).died(0, lived=YOUNG, left_group=True).after for seed in range(9)]
    assert len(set(waits)) == len(waits)
    assert all(0 <= wait <= FIRST_CEILING for wait in waits)


def test_a_minute_of_life_makes_up_for_earlier_deaths() -> None:
    restarts = Restarts(Highest(), SESSION_TIMEOUT)
    for now in range(0, 500, 100):
        restarts.died(now, lived=YOUNG, left_group=True)
    assert restarts.died(600, lived=FORGIVEN_AFTER, left_group=True).after == FIRST_CEILING


def test_one_that_dies_again_and_again_at_once_rests_and_is_reported() -> None:
    restarts = Restarts(Highest(), SESSION_TIMEOUT)
    deaths = [restarts.died(now, lived=0.5, left_group=True) for now in range(POISONED_AT)]
    assert [death.poisoned for death in deaths] == [False] * (POISONED_AT - 1) + [True]
    assert deaths[-1].after == REST
    # After its rest it has as many tries as before.
    assert not restarts.died(POISONED_AT + REST, lived=0.5, left_group=True).poisoned


@pytest.mark.parametrize(
    ("every", "ages"),
    [
        pytest.param(POISONED_WITHIN / (POISONED_AT - 2), [0.5] * 20, id="too seldom"),
        pytest.param(YOUNG, [YOUNG] * 20, id="too old"),
        pytest.param(1, ([0.5] * (POISONED_AT - 1) + [YOUNG]) * 4, id="not in a row"),
    ],
)
def test_other_deaths_are_no_poison(every: float, ages: list[float]) -> None:
    restarts = Restarts(Random(1), SESSION_TIMEOUT)
    deaths = [restarts.died(number * every, lived=age, left_group=True) for number, age in enumerate(ages)]
    assert not any(death.poisoned for death in deaths)


def test_one_that_took_no_leave_of_its_group_comes_back_when_the_group_has_given_it_up() -> None:
    restarts = Restarts(Lowest(), SESSION_TIMEOUT)
    assert restarts.died(0, lived=100, left_group=False).after == SESSION_TIMEOUT - START_UP
    assert restarts.died(200, lived=100, left_group=True).after == 0


lives = st.tuples(st.floats(0, 1000), st.booleans())


@given(st.lists(lives, max_size=60), st.integers())
def test_nobody_waits_longer_than_half_a_minute_unless_poisoned(all_lives: list[tuple[float, bool]], seed: int) -> None:
    restarts = Restarts(Random(seed), SESSION_TIMEOUT)
    now = 0.0
    for lived, left_group in all_lives:
        now += lived
        restart = restarts.died(now, lived=lived, left_group=left_group)
        assert restart.after == REST if restart.poisoned else 0 <= restart.after <= LONGEST_CEILING
        assert not (restart.poisoned and lived >= YOUNG)
        now += restart.after
