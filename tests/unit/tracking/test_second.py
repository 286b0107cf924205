"""What follows a message that was not delivered."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.fleet import Redelivery
from dispatcher.domain.job import Job, is_second
from dispatcher.tracking.second import NoSecond, second_of

NOW = datetime(2026, 11, 24, 18, tzinfo=UTC)
POLICY = Redelivery(attempts=2, after=3600.0)
LATE = 300.0


def job(**changes: Any) -> Job:
    known: dict[str, Any] = {"id": "spring-1", "campaign": "spring", "to": "+12065550142", "pool": "all", "body": "Hi"}
    return Job(**known | changes)


def second(of: Job, policy: Redelivery = POLICY, at: datetime = NOW, now: datetime = NOW) -> Job | NoSecond:
    return second_of(of, at, policy, now, LATE)


def test_it_says_the_same_to_the_same_later_with_an_id_of_its_own_and_a_link() -> None:
    found = second(job(tags={"segment": "a"}, carrier="att", timezone="America/Denver"))
    assert found == job(
        id="spring-1~2",
        tags={"segment": "a", "retry_of": "spring-1", "retry": "2"},
        carrier="att",
        timezone="America/Denver",
        send_at=NOW + timedelta(hours=1),
    )


def test_each_attempt_is_linked_to_the_first_until_there_were_enough() -> None:
    first = second(job())
    assert isinstance(first, Job)
    then = second(first)
    assert isinstance(then, Job)
    assert (then.id, then.tags) == ("spring-1~3", {"retry_of": "spring-1", "retry": "3"})
    assert second(then) is NoSecond.EXHAUSTED


@given(moments=st.lists(st.integers(0, 3600 + int(LATE) - 1), min_size=2, max_size=5))
def test_whenever_it_is_asked_for_it_is_the_same(moments: list[int]) -> None:
    """So a crash publishes the same id again, and workers send it once."""
    found = [second(job(), now=NOW + timedelta(seconds=moment)) for moment in moments]
    assert all(one == found[0] for one in found)
    assert isinstance(found[0], Job)


@pytest.mark.parametrize(
    ("changes", "late_by", "why"),
    [
        ({"expires_at": NOW + timedelta(hours=1)}, 0, NoSecond.EXPIRED),
        ({}, 3600 + LATE, NoSecond.LATE),
        ({"id": "x" * 127}, 0, NoSecond.TOO_LONG),
        ({"tags": {"retry": "3", "retry_of": "spring-0"}}, 0, NoSecond.EXHAUSTED),
    ],
)
def test_there_is_none_where_it_would_come_too_late_or_too_often(
    changes: dict[str, Any], late_by: float, why: NoSecond
) -> None:
    assert second(job(**changes), now=NOW + timedelta(seconds=late_by)) is why


def test_a_strangers_tag_of_that_name_is_no_number_of_ours() -> None:
    found = second(job(tags={"retry": "never"}))
    assert isinstance(found, Job)
    assert found.id == "spring-1~2"


@pytest.mark.parametrize(
    ("name", "is_one"), [("spring-1~2", True), ("spring-1", False), ("spring~x", False), ("~", False)]
)
def test_its_id_tells_it_from_a_row(name: str, *, is_one: bool) -> None:
    assert is_second(name) is is_one
