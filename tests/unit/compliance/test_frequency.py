"""How often a recipient may be texted, by what is remembered of it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.compliance.frequency import DAY, LOOK_AGAIN, Frequency
from dispatcher.domain.frequency import FrequencySettings
from dispatcher.domain.job import Job

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0


def job(name: str = "a", *, to: str = "+12065550142", campaign: str = "spring") -> Job:
    return Job(id=name, campaign=campaign, to=to, pool="marketing", body="Hi")


@given(
    texts=st.lists(st.integers(0, 3 * 24 * 60), max_size=40),
    per_day=st.integers(1, 4),
    asked=st.integers(0, 4 * 24 * 60),
)
def test_as_many_as_a_day_may_have_are_remembered_exactly(texts: list[int], per_day: int, asked: int) -> None:
    frequency = Frequency(FrequencySettings(per_day=per_day))
    before = sorted(minute for minute in texts if minute <= asked)
    for minute in before:
        frequency.remember("+12065550142", "spring", NOON + minute * 60)
    within = sum(asked * 60 - minute * 60 < DAY for minute in before)
    assert (frequency.refusal(job(), NOON + asked * 60) is not None) == (within >= per_day)


def test_a_campaign_texts_a_recipient_no_more_often_than_it_may() -> None:
    frequency = Frequency(FrequencySettings(per_campaign=2))
    frequency.remember("+12065550142", "spring", NOON)
    assert frequency.refusal(job(), NOON) is None
    frequency.remember("+12065550142", "spring", NOON)
    assert frequency.refusal(job(), NOON) == "the campaign has texted the recipient 2 times, which is all it may"
    assert frequency.refusal(job(campaign="autumn"), NOON) is None
    assert frequency.refusal(job(to="+12065550143"), NOON) is None


def test_between_two_texts_there_is_time_whichever_campaign_they_are_of() -> None:
    frequency = Frequency(FrequencySettings(at_least_between=4 * HOUR))
    assert frequency.due(job(), NOON) == NOON
    frequency.concluded(job("a"), NOON, is_sent=True)
    assert frequency.due(job("b", campaign="autumn"), NOON + HOUR) == NOON + 4 * HOUR
    assert frequency.due(job("b"), NOON + 5 * HOUR) <= NOON + 5 * HOUR


def test_while_one_is_on_its_way_no_other_leaves_to_the_same_recipient() -> None:
    frequency = Frequency(FrequencySettings(per_day=1))
    frequency.leaves(job("a"), NOON)
    assert frequency.due(job("a"), NOON + 1) <= NOON + 1  # it may go again itself
    assert frequency.due(job("b"), NOON + 1) == NOON + 1 + LOOK_AGAIN
    frequency.concluded(job("a"), NOON + 2, is_sent=False)
    assert frequency.due(job("b"), NOON + 2) <= NOON + 2
    assert frequency.refusal(job("b"), NOON + 2) is None


@pytest.mark.parametrize("days", [1, 2])
def test_what_is_remembered_for_longer_than_it_has_to_be_goes(days: int) -> None:
    frequency = Frequency(FrequencySettings(per_campaign=1))
    frequency.remember("+12065550142", "spring", NOON)
    frequency.remember("+12065550143", "spring", NOON + days * DAY + 1)
    frequency.remember("+12065550144", "spring", NOON + days * DAY + 2)
    assert (frequency.refusal(job(), NOON + days * DAY + 3) is not None) == (days == 1)


def test_nothing_is_asked_of_a_config_without_limits() -> None:
    assert not FrequencySettings()
    assert FrequencySettings(at_least_between=1.0)
