"""What is read off the stand-in's log when workers come, go and die."""

import pytest

from benchmarks.rebalance import DRIVEN, cost
from benchmarks.recovery import RATE, at_rate


def beats(begin: float, seconds: float, rate: float) -> list[float]:
    return [begin + number / rate for number in range(int(seconds * rate))]


def test_the_rate_is_reached_where_the_first_whole_second_begins() -> None:
    arrived = [*beats(10.0, 2.0, RATE / 2), *beats(12.0, 3.0, RATE)]
    assert at_rate(arrived) == pytest.approx(12.0, abs=0.1)


@pytest.mark.parametrize("arrived", [[], beats(10.0, 5.0, RATE / 2), beats(10.0, 0.9, RATE)])
def test_a_rate_that_no_whole_second_has_is_not_reached(arrived: list[float]) -> None:
    assert at_rate(arrived) is None


def test_a_pause_is_as_long_as_nothing_came_and_costs_as_much_of_the_rate() -> None:
    arrived = [*beats(0.0, 20.0, DRIVEN), *beats(23.0, 20.0, DRIVEN)]
    costs = cost(arrived, 10.0, 40.0)
    assert costs["s without any message"] == pytest.approx(3.0, abs=0.01)
    assert costs["s of the rate lost"] == pytest.approx(3.0, abs=0.01)


def test_half_a_rate_is_half_lost_and_no_pause() -> None:
    arrived = [*beats(0.0, 20.0, DRIVEN), *beats(20.0, 10.0, DRIVEN / 2), *beats(30.0, 20.0, DRIVEN)]
    costs = cost(arrived, 10.0, 40.0)
    assert costs["s without any message"] < 0.01
    assert costs["s of the rate lost"] == pytest.approx(5.0, abs=0.01)
