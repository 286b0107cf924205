from collections import Counter
from dataclasses import replace

import pytest

from dispatcher.domain.settings import SimulatorSettings
from dispatcher.simulator.weather import CallbackFate, Fault, Weather

FAULTY = SimulatorSettings(
    refuse_429_share=0.1,
    refuse_500_share=0.1,
    accept_then_500_share=0.1,
    accept_then_drop_share=0.1,
    accept_then_hang_share=0.1,
)


def test_each_fault_meets_its_share() -> None:
    weather = Weather(FAULTY)
    drawn = Counter(weather.fault() for _ in range(10_000))
    assert set(drawn) == {None, *Fault}
    assert all(900 < drawn[fault] < 1100 for fault in Fault)


def test_without_shares_nothing_goes_wrong() -> None:
    weather = Weather(SimulatorSettings())
    assert {weather.fault() for _ in range(1000)} == {None}
    assert {weather.callback_fate(may_be_late=True) for _ in range(1000)} == {None}


def test_the_same_seed_draws_the_same() -> None:
    def draw(seed: int) -> list[object]:
        weather = Weather(replace(FAULTY, seed=seed))
        return [(weather.fault(), weather.latency()) for _ in range(100)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_latency_does_not_disturb_the_faults() -> None:
    one, other = Weather(FAULTY), Weather(FAULTY)
    for _ in range(100):
        other.latency()
        assert one.fault() is other.fault()


def test_latency_has_a_tail_of_its_share() -> None:
    weather = Weather(SimulatorSettings(latency_low=0.08, latency_high=0.15, tail_share=0.2, tail_high=0.8))
    drawn = [weather.latency() for _ in range(5000)]
    assert 0.08 <= min(drawn) <= max(drawn) <= 0.8
    assert 900 < sum(latency > 0.15 for latency in drawn) < 1100


def test_no_latency_is_none_at_all() -> None:
    weather = Weather(SimulatorSettings(latency_low=0.0, latency_high=0.0, tail_share=0.0))
    assert weather.latency() == 0.0


def test_a_share_of_answers_is_later_than_the_callbacks_and_a_share_of_callbacks_has_a_forgery_beside_it() -> None:
    weather = Weather(SimulatorSettings(callback_early_share=0.2, callback_forged_share=0.1))
    late = [weather.lateness() for _ in range(5000)]
    assert 900 < sum(seconds > 1.0 for seconds in late) < 1100
    assert set(late) - {seconds for seconds in late if seconds > 1.0} == {0.0}
    assert 400 < sum(weather.is_forged_beside() for _ in range(5000)) < 600


@pytest.mark.parametrize("may_be_late", [True, False])
def test_callbacks_meet_their_fates_and_the_last_one_is_never_late(*, may_be_late: bool) -> None:
    settings = SimulatorSettings(callback_loss_share=0.2, callback_duplicate_share=0.2, callback_reorder_share=0.2)
    weather = Weather(settings)
    drawn = Counter(weather.callback_fate(may_be_late=may_be_late) for _ in range(5000))
    assert all(900 < drawn[fate] < 1100 for fate in (CallbackFate.LOST, CallbackFate.DUPLICATED))
    assert (900 < drawn[CallbackFate.LATE] < 1100) is may_be_late
