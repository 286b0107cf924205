from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.control import Cut, Order, SenderRecord
from dispatcher.domain.standing import AFTER_SUSPENSION, Standing, standing

NOW = datetime(2026, 11, 24, 18, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def rest(until: datetime | None) -> SenderRecord:
    return SenderRecord(suspension=Order(by="ana", at=NOW, until=until))


def cut(factor: float, until: datetime | None) -> SenderRecord:
    return SenderRecord(cut=Cut(by="a rule", at=NOW, until=until, factor=factor))


def test_of_whom_nothing_is_said_sends_as_the_config_says() -> None:
    assert standing(SenderRecord(), NOW) == Standing()


@pytest.mark.parametrize("until", [None, after(600)])
def test_a_suspension_holds_until_it_is_over(until: datetime | None) -> None:
    assert standing(rest(until), after(599)) == Standing(is_suspended=True, until=until)


@pytest.mark.parametrize(("seconds", "factor"), [(0, 0.375), (9, 0.375), (10, 0.5625), (20, 0.84375), (30, 1.0)])
def test_a_sender_comes_back_from_a_suspension_in_steps(seconds: float, factor: float) -> None:
    assert standing(rest(NOW), after(seconds)) == Standing(factor=factor)


@pytest.mark.parametrize(("seconds", "factor"), [(-1, 0.5), (0, 0.75), (10, 1.0)])
def test_a_cut_ends_in_steps(seconds: float, factor: float) -> None:
    assert standing(cut(0.5, NOW), after(seconds)) == Standing(factor=factor)


@given(
    factor=st.floats(0.01, 0.99),
    end=st.floats(0, 1000),
    first=st.floats(0, 5000),
    later=st.floats(0, 5000),
)
def test_a_factor_only_rises_and_in_the_end_is_one(factor: float, end: float, first: float, later: float) -> None:
    record = SenderRecord(suspension=rest(after(end)).suspension, cut=cut(factor, after(end)).cut)
    first += end
    earlier = standing(record, after(first)).factor
    assert min(factor, AFTER_SUSPENSION) <= earlier <= standing(record, after(first + later)).factor <= 1.0
    assert standing(record, after(end + 200)) == Standing()
