from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.message import Message
from dispatcher.domain.outcome import Result, Status
from dispatcher.domain.topics import Topics
from dispatcher.outcomes.publisher import Record
from dispatcher.outcomes.results import Outcomes
from tests.clock import FakeClock
from tests.unit.pacing.making import Desk, make_message, make_sender


class Press:
    def __init__(self) -> None:
        self.added: list[tuple[str, Record]] = []

    def add(self, topic: str, record: Record) -> None:
        self.added.append((topic, record))


@pytest.fixture
def press() -> Press:
    return Press()


@pytest.fixture
def outcomes(press: Press, clock: FakeClock) -> Outcomes:
    return Outcomes(cast("Any", press), Topics(results="r", dead_letters="d"), clock)


def sent_message() -> Message:
    message = make_message("spring", offset=42)
    message.sender = make_sender("72345", 100, account="promo")
    message.attempts = 2
    return message


@given(st.lists(st.floats(0, 3), max_size=20))
def test_each_result_says_when_it_was_made(pauses: list[float]) -> None:
    press, clock = Press(), FakeClock()
    outcomes = Outcomes(cast("Any", press), Topics(), clock)
    for pause in pauses:
        clock.advance(pause)
        outcomes.conclude(sent_message(), "accepted", sid="SM1", segments=1)
        shown = msgspec.json.decode(press.added[-1][1].value, type=Result).at
        assert shown == clock.now().isoformat(timespec="milliseconds")


def test_a_result_says_all_there_is_to_say(outcomes: Outcomes, press: Press) -> None:
    message = sent_message()
    outcomes.conclude(message, "accepted", sid="SM1", segments=3)
    [(topic, record)] = press.added
    assert (topic, record.key, record.origin, record.offset) == ("r", message.job.id.encode(), message.origin, 42)
    assert msgspec.json.decode(record.value) == {
        "id": message.job.id,
        "campaign": "spring",
        "to": "+12065550142",
        "status": "accepted",
        "sender": "72345",
        "account": "promo",
        "sid": "SM1",
        "segments": 3,
        "code": None,
        "reason": None,
        "attempts": 2,
        "job": {"topic": "campaign.jobs", "partition": 0, "offset": 42},
        "at": "2026-11-24T18:00:00.000+00:00",
        "carrier": None,
        "parked": None,
    }


@pytest.mark.parametrize("status", ["refused", "expired", "suppressed", "cancelled", "unknown", "dead"])
def test_a_message_that_was_never_sent_names_no_sender(outcomes: Outcomes, press: Press, status: Status) -> None:
    message = sent_message()
    message.attempts = 0
    outcomes.conclude(message, status, code=21211, reason="because")
    result = msgspec.json.decode(press.added[0][1].value, type=Result)
    assert (result.status, result.sender, result.account) == (status, None, None)
    assert (result.code, result.reason) == (21211, "because")


def test_what_is_another_workers_business_gets_no_result(outcomes: Outcomes, press: Press) -> None:
    message = sent_message()
    cast("Desk", message.origin).is_owned = False
    outcomes.conclude(message, "accepted", sid="SM1")
    assert not press.added


@pytest.mark.parametrize("value", [None, b"", b"{\xff"])
@pytest.mark.parametrize("key", [None, b"+12065550142"])
def test_a_dead_letter_keeps_the_record_and_says_why_and_whence(
    outcomes: Outcomes, press: Press, value: bytes | None, key: bytes | None
) -> None:
    outcomes.bury(Desk(partition=5), 42, key, value, "the record is not JSON: café")
    [(topic, record)] = press.added
    assert (topic, record.key, record.value, record.offset) == ("d", key, value or b"", 42)
    assert dict(record.headers) == {
        "reason": "the record is not JSON: café".encode(),
        "topic": b"campaign.jobs",
        "partition": b"5",
        "offset": b"42",
        "at": b"2026-11-24T18:00:00.000+00:00",
    }
