"""Records as others write them become what happened to messages; anything else is refused, not misread."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from dispatcher.domain.callback import Callback
from dispatcher.domain.outcome import Position, Result
from dispatcher.tracking.lifecycle import Conclusion, News
from dispatcher.tracking.records import read_callback, read_result

AT = "2026-11-24T18:00:00.250+00:00"
SECONDS = datetime(2026, 11, 24, 18, 0, 0, 250_000, tzinfo=UTC).timestamp()


def callback(**changes: Any) -> bytes:
    known: dict[str, Any] = {
        "kind": "status", "mid": "spring-1", "attempt": 2, "account": "main", "sid": "SM1", "status": "undelivered",
        "error_code": 30003, "token": "t", "parameters": {"From": "72345", "To": "+12065550142", "New": "x"},
        "received_at": AT,
    }  # fmt: skip
    return msgspec.json.encode(Callback(**known | changes))


@pytest.mark.parametrize(("kind", "by"), [("status", "callback"), ("polled", "poll")])
def test_a_callback_is_news(kind: str, by: Any) -> None:
    assert read_callback(callback(kind=kind)) == News(
        mid="spring-1", sid="SM1", attempt=2, status="undelivered", code=30003, sender="72345", to="+12065550142",
        account="main", at=SECONDS, by=by,
    )  # fmt: skip


def test_news_of_a_service_are_the_services_not_those_of_the_number_it_chose() -> None:
    service = "MG" + "5" * 32
    news = read_callback(callback(parameters={"From": "+14155550123", "To": "+1", "MessagingServiceSid": service}))
    assert news is not None
    assert news.sender == service


@pytest.mark.parametrize("changes", [{"kind": "inbound"}, {"mid": None}, {"sid": ""}])
def test_what_speaks_of_no_message_of_ours_is_no_news(changes: dict[str, Any]) -> None:
    assert read_callback(callback(**changes)) is None


def test_a_result_is_a_conclusion() -> None:
    result = Result(
        id="spring-1", campaign="spring", to="+12065550142", status="accepted", sender="72345", account="main",
        sid="SM1", segments=2, attempts=1, job=Position("campaign.jobs", 0, 7), at=AT, carrier="att",
    )  # fmt: skip
    assert read_result(msgspec.json.encode(result)) == Conclusion(
        mid="spring-1", campaign="spring", to="+12065550142", sender="72345", account="main", carrier="att", sid="SM1",
        status="accepted", code=None, segments=2, attempts=1, at=SECONDS,
    )  # fmt: skip


def test_where_its_job_stands_is_kept_where_that_is_asked_for() -> None:
    result = Result(
        id="spring-1", campaign="spring", to="+12065550142", status="accepted", job=Position("a/b", 3, 7), at=AT
    )
    value = msgspec.json.encode(result)
    assert read_result(value).job is None
    assert read_result(value, keeps_job=True).job == "a/b/3/7"
    assert Position.parse("a/b/3/7") == result.job


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b'{"id":"a"}', b"\xff", callback(received_at="yesterday")])
def test_what_is_no_record_is_refused(value: bytes) -> None:
    for read in (read_callback, read_result):
        with pytest.raises(ValueError, match=r"."):
            read(value)


def test_a_result_of_a_status_that_there_is_not_is_refused() -> None:
    value = b'{"id":"a","campaign":"c","to":"+1","status":"lost","at":"2026-11-24T18:00:00Z"}'
    with pytest.raises(ValueError, match="no status of a result"):
        read_result(value)
