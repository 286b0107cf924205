from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.bench.findings import REACHED, Flow, binding, keeps_up
from tests.unit.bench.making import account, flow, measured

BUSY = {"cpu": 0.97}
SLOW_STAND_IN = {"stand_in_cpu": 0.99}
FULL = {"machine": 1.0}
LATE = {"late": 0.05}
UNANSWERED = ("concurrency", "queue", "journal", "worker", "sender")


@pytest.mark.parametrize(
    ("places", "circumstances", "bound_by"),
    [
        ({"account": 30, "sender": 10}, {}, "account"),
        ({"family": 4, "sender": 36}, {}, "family"),
        ({"suspended": 40}, {}, "suspended"),
        ({"queue": 40}, {}, "queue"),
        ({"concurrency": 40}, {}, "concurrency"),
        ({"concurrency": 39, "journal": 41}, {}, "kafka"),
        ({"idle": 40}, {}, "idle"),
        ({"idle": 40}, {"lag": 9}, "kafka"),
        ({"idle": 1, "sender": 39}, {}, "sender"),
        ({"idle": 1, "account": 1, "sender": 38}, {}, "account"),
        ({"sender": 40}, {}, "sender"),
        # Whoever answers late has many requests without an answer, and intents that wait.
        *[({place: 40}, BUSY | SLOW_STAND_IN | FULL, "worker") for place in UNANSWERED],
        *[({place: 40}, SLOW_STAND_IN | FULL, "stand-in") for place in UNANSWERED],
        *[({place: 40}, busy, "machine") for place in ("journal", "sender", "worker") for busy in (FULL, LATE)],
        # What a limit of Twilio's holds back would wait on any machine.
        *[({place: 40}, BUSY | FULL, place) for place in ("account", "family", "suspended", "idle")],
    ],
)  # fmt: skip
def test_what_binds_is_where_messages_wait_unless_somebody_could_do_no_more(
    places: dict[str, int], circumstances: dict[str, Any], bound_by: str
) -> None:
    short = flow(places=places)
    assert binding(short, measured(short, **circumstances)) == bound_by


def test_a_429_proves_that_the_account_binds_however_busy_all_are() -> None:
    short = flow(places={"concurrency": 40})
    accounts = {"main": account(throttled=3)}
    assert binding(short, measured(short, accounts=accounts, cpu=1.0, stand_in_cpu=1.0)) == "concurrency"


def test_who_is_in_no_pool_is_bound_by_that() -> None:
    alone = flow(pools=(), segments=0, messages=0, places={"idle": 40})
    assert binding(alone, measured(alone, lag=9, cpu=1.0)) == "no pool"


@given(configured=st.floats(0.25, 5000), seconds=st.floats(5, 600), largest=st.integers(1, 11))
def test_a_sender_that_is_driven_at_99_percent_keeps_up_whatever_its_last_message(
    configured: float, seconds: float, largest: int
) -> None:
    sent = int(0.99 * configured * seconds)
    one = flow(configured=configured, segments=max(0, sent - largest + 1), largest=largest)
    assert keeps_up(one, seconds)
    assert binding(one, measured(one, seconds=seconds, cpu=1.0)) == "sender"


@given(configured=st.floats(0.25, 5000), seconds=st.floats(5, 600), share=st.floats(0, REACHED - 0.01))
def test_a_sender_that_misses_more_than_a_message_does_not(configured: float, seconds: float, share: float) -> None:
    one: Flow = flow(configured=configured, segments=int(share * configured * seconds) - 1, largest=1)
    assert not keeps_up(one, seconds)
