"""The table of retries: pauses grow, are spread, and end."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.delivery.retry import IN_DOUBT, JITTER, RETRIES, Retry, barred, ends_at
from dispatcher.delivery.verdict import Reaction
from dispatcher.domain.job import Job
from dispatcher.domain.outcome import Attempt

NOW = datetime(2026, 11, 24, 18, tzinfo=UTC)
# What ends a message is not tried again; what slows a family costs no attempt.
ENDS = {Reaction.REFUSE, Reaction.OPTED_OUT, Reaction.OUR_BUG}


def attempt(sender: str = "72345", code: int | None = 21611, at: datetime = NOW) -> Attempt:
    return Attempt(at.isoformat(), sender, code, "no")


def test_every_reaction_that_does_not_end_a_message_has_a_line() -> None:
    assert RETRIES.keys() == set(Reaction) - ENDS - {Reaction.SLOW_FAMILY}


@given(
    retry=st.sampled_from([*RETRIES.values(), IN_DOUBT]),
    attempts=st.integers(1, 10_000),
    seed=st.integers(0, 1000),
)
def test_a_pause_is_never_shorter_than_the_table_says_nor_much_longer(retry: Retry, attempts: int, seed: int) -> None:
    pause = retry.pause(attempts, Random(seed))
    least = min(retry.longest, retry.first * 2 ** min(attempts - 1, 40))
    assert least <= pause <= least * (1 + JITTER)


def test_those_who_failed_together_come_back_apart() -> None:
    random = Random(1)
    pauses = [IN_DOUBT.pause(1, random) for _ in range(1000)]
    assert len(set(pauses)) == 1000
    assert max(pauses) - min(pauses) > 0.4


@pytest.mark.parametrize(
    ("expires_in", "validity", "history", "ends_in"),
    [
        (None, None, [], None),
        (60, None, [], 60),
        (None, 300, [], None),
        (None, 300, [attempt(), attempt(at=NOW + timedelta(seconds=200))], 300),
        (60, 300, [attempt()], 60),
        (600, 300, [attempt()], 300),
    ],
)
def test_the_first_end_counts(
    expires_in: int | None, validity: float | None, history: list[Attempt], ends_in: int | None
) -> None:
    expires_at = None if expires_in is None else NOW + timedelta(seconds=expires_in)
    job = Job(id="spring-1", campaign="spring", to="+12065550142", pool="all", body="Hi", expires_at=expires_at)
    ends = ends_at(job, history, validity)
    assert ends == (None if ends_in is None else NOW + timedelta(seconds=ends_in))


def test_only_senders_that_never_take_the_message_are_barred() -> None:
    history = [attempt("1", 21612), attempt("2", 21611), attempt("3", 21606), attempt("4", None), attempt("5", 99999)]
    assert barred(history) == ("1", "3")
