"""News in any order, any number of times, add up to one and the same life."""

import itertools
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.tracking.lifecycle import STAGES, Conclusion, End, Heard, News, Passed, Track


def result(status: str = "accepted", **changes: Any) -> Conclusion:
    known: dict[str, Any] = {
        "mid": "m1", "campaign": "spring", "to": "+12065550142", "sender": "72345", "account": "main",
        "carrier": None, "sid": "SM1", "status": status, "code": None, "segments": 2, "attempts": 1, "at": 100.0,
    }  # fmt: skip
    return Conclusion(**known | changes)


def news(status: str, at: float = 101.0, **changes: Any) -> News:
    known: dict[str, Any] = {
        "mid": "m1", "sid": "SM1", "attempt": 1, "status": status, "code": None, "sender": "72345",
        "to": "+12065550142", "account": "main", "at": at,
    }  # fmt: skip
    return News(**known | changes)


def take(track: Track, *events: News | Conclusion) -> Track:
    for event in events:
        if isinstance(event, News):
            track.hear(event)
        else:
            track.conclude(event)
    return track


@pytest.mark.parametrize("end", ["delivered", "undelivered", "failed", "canceled", "read"])
def test_every_order_of_the_same_news_ends_alike(end: str) -> None:
    code = None if STAGES[end].end is End.DELIVERED else 30003
    events: list[News | Conclusion] = [
        result(),
        news("queued"),
        news("sent", 102.0),
        news(end, 103.0, code=code),
        news("sent", 104.0),
    ]
    for order in itertools.permutations(events):
        track = take(Track("m1"), *order)
        assert (track.status, track.code, track.changed_at) == (end, code, 103.0)
        assert (track.campaign, track.segments, track.accepted_at) == ("spring", 2, 100.0)
        assert track.passed == Passed.ACCEPTED | Passed.ENDED | (Passed.LEFT if STAGES[end].left else Passed.NOTHING)


@given(st.lists(st.sampled_from([result(), *(news(status) for status in STAGES)]), max_size=12))
def test_a_status_never_goes_back_and_the_first_end_stays(events: list[News | Conclusion]) -> None:
    track, rank, ended_with = Track("m1"), 0, ""
    for event in events:
        take(track, event)
        assert STAGES[track.status].rank >= rank
        rank = STAGES[track.status].rank
        if ended_with and track.status != "read":
            assert track.status == ended_with
        ended_with = track.status if rank >= STAGES["delivered"].rank else ""


@given(st.lists(st.sampled_from([news(status) for status in STAGES]), max_size=8), st.integers())
def test_repeating_all_that_was_said_says_nothing_new(events: list[News], seed: int) -> None:
    track = take(Track("m1"), result(), *events)
    Random(seed).shuffle(events)
    assert Heard.NEWS not in [track.hear(event) for event in events]


def test_what_news_amount_to() -> None:
    track = take(Track("m1"), result())
    assert track.hear(news("delivered")) is Heard.NEWS
    assert track.hear(news("delivered")) is Heard.REPEATED
    assert track.hear(news("sent")) is Heard.LATE
    assert track.hear(news("sent", sid="SM2")) is Heard.STRAY
    assert track.hear(news("exploded")) is Heard.NO_STATUS
    # Statuses of ours are none of Twilio's.
    assert track.hear(news("refused")) is Heard.NO_STATUS


def test_before_its_result_a_message_has_come_to_nothing_that_counts() -> None:
    track = take(Track("m1"), news("delivered"))
    assert track.passed == Passed.NOTHING
    take(track, result())
    assert track.passed == Passed.ACCEPTED | Passed.LEFT | Passed.ENDED


def test_a_message_leaves_the_queue_with_the_first_news_that_it_did() -> None:
    assert take(Track("m1"), result(), news("delivered", 105.0), news("sent", 106.0)).left_at == 105.0
    assert take(Track("m1"), result(), news("sent", 104.0), news("delivered", 105.0)).left_at == 104.0
    # When we asked says nothing about when.
    polled = take(Track("m1"), result(), news("delivered", 900.0, by="poll"), news("sent", 901.0))
    assert polled.left_at is None
    assert Passed.LEFT in polled.passed


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4, 5])
def test_of_a_message_that_was_sent_twice_the_request_with_the_result_counts(order: int) -> None:
    first, second = news("delivered", sid="SM1", attempt=1), news("sent", sid="SM2", attempt=2)
    said: list[News | Conclusion] = [first, second, result(sid="SM2", attempts=2)]
    events = list(itertools.permutations(said))[order]
    track = take(Track("m1"), *events)
    assert (track.sid, track.status) in {("SM2", "sent"), ("SM2", "accepted")}
    # At the latest the next news of it put it right.
    take(track, news("delivered", 110.0, sid="SM2", attempt=2), first)
    assert (track.sid, track.status, track.changed_at) == ("SM2", "delivered", 110.0)


@pytest.mark.parametrize("status", ["unknown", "expired", "cancelled"])
def test_where_twilio_speaks_of_a_message_that_was_given_up_twilio_is_right(status: str) -> None:
    said: list[News | Conclusion] = [result(status, sid=None), news("sent"), news("delivered", 105.0)]
    for events in itertools.permutations(said):
        track = take(Track("m1"), *events)
        assert (track.status, track.sid, track.passed) == (
            "delivered",
            "SM1",
            Passed.ACCEPTED | Passed.LEFT | Passed.ENDED,
        )


@pytest.mark.parametrize("status", ["refused", "suppressed", "expired", "cancelled", "dead"])
def test_what_never_came_to_twilio_has_ended(status: str) -> None:
    track = take(Track("m1"), result(status, sid=None, code=21610))
    assert (track.passed, track.code, track.is_at_twilio) == (Passed.ENDED, 21610, False)


def test_a_second_result_changes_nothing() -> None:
    track = take(Track("m1"), result())
    assert not track.conclude(result(campaign="autumn", status="refused"))
    assert track.campaign == "spring"


def test_before_the_result_the_latest_request_that_was_heard_of_counts() -> None:
    first, second = news("delivered", sid="SM1", attempt=1), news("sent", sid="SM2", attempt=2)
    for order in ((first, second), (second, first)):
        track = take(Track("m1"), *order)
        assert (track.sid, track.attempt, track.status) == ("SM2", 2, "sent")


def test_the_highest_attempt_that_was_heard_of_stays() -> None:
    assert take(Track("m1"), news("sent", attempt=3), result(attempts=1)).attempt == 3
    assert take(Track("m1"), news("sent", attempt=1), result(attempts=3)).attempt == 3


def test_news_name_the_sender_where_no_result_did() -> None:
    assert take(Track("m1"), result("unknown", sid=None, sender=None), news("sent")).sender == "72345"
