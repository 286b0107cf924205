from typing import Any

import pytest

from dispatcher.simulator.form import Form
from dispatcher.simulator.message import Submission
from dispatcher.simulator.submission import read_submission

ACCOUNT = "AC" + "1" * 32
SERVICE = "MG" + "0" * 32


def form(**changes: Any) -> Form:
    fields = {"To": "+12065550142", "From": "72345", "Body": "Hi"} | changes
    return {name: value if isinstance(value, list) else [value] for name, value in fields.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"To": None}, 21604),
        ({"From": None}, 21603),
        ({"To": "12065550142"}, 21211),
        ({"To": "+0123456789"}, 21211),
        ({"To": "72345"}, 21211),
        ({"From": "+1"}, 21212),
        ({"From": None, "MessagingServiceSid": "MGxyz"}, 21705),
        ({"Body": None}, 21602),
        ({"Body": ""}, 21602),
        ({"Body": None, "From": None, "MessagingServiceSid": SERVICE}, 21619),
        ({"Body": "x" * 1601}, 21617),
        ({"MediaUrl": ["https://example.com/a.png"] * 11}, 21623),
        ({"MediaUrl": ["https://example.com/a.png", "ftp://example.com/b.png"]}, 21620),
        ({"ValidityPeriod": "0"}, 21624),
        ({"ValidityPeriod": "36001"}, 21624),
        ({"ValidityPeriod": ""}, 21624),
        ({"ValidityPeriod": "9" * 5000}, 21624),
        ({"ValidityPeriod": "5min"}, 21624),
        ({"StatusCallback": "hooks.example.com"}, 21609),
        ({"StatusCallback": "http://"}, 21609),
        ({"StatusCallback": "http://127.0.0.1:65536/"}, 21609),
        ({"StatusCallback": "http://[::1/"}, 21609),
        ({"StatusCallback": "http://127.0.0.1/a b"}, 21609),
        ({"ScheduleType": "fixed", "SendAt": "2026-11-24T18:00:00Z"}, 20001),
        ({"To": "+15005550001"}, 21211),
        ({"To": "+15005550002"}, 21612),
        ({"To": "+15005550003"}, 21408),
        ({"To": "+15005550004"}, 21610),
        ({"To": "+15005550009"}, 21614),
        ({"From": "+15005550001"}, 21212),
        ({"From": "+15005550007"}, 21606),
        ({"From": "+15005550008"}, 21611),
    ],
)
def test_what_cannot_be_sent_is_refused_with_its_code(changes: dict[str, Any], code: int) -> None:
    assert read_submission(form(**changes), ACCOUNT) == code


def read(**changes: Any) -> Submission:
    submission = read_submission(form(**changes), ACCOUNT)
    assert isinstance(submission, Submission)
    return submission


@pytest.mark.parametrize(
    ("changes", "segments"),
    [
        ({"Body": "x" * 160}, 1),
        ({"Body": "x" * 161}, 2),
        ({"Body": "ж" * 71}, 2),
        ({"Body": "x" * 1600}, 11),
        ({"Body": "x" * 161, "MediaUrl": ["https://example.com/a.png"]}, 1),
        ({"Body": None, "ContentSid": "HX" + "0" * 32}, 1),
    ],
)
def test_segments_are_counted_but_a_message_with_media_is_one(changes: dict[str, Any], segments: int) -> None:
    assert read(**changes).segments == segments


def test_the_dispatchers_own_id_comes_from_the_callbacks_query() -> None:
    url = "http://127.0.0.1:8080/twilio/status?mid=spring%2F1&a=2#rc=5&rp=all"
    assert read(StatusCallback=url)[-4:] == (url, "spring/1", 2, "http://127.0.0.1:8080/twilio/status")


@pytest.mark.parametrize("query", ["", "?", "?x=1", "?mid=&a=", "?a=two#mid=1"])
def test_a_callback_without_an_id_is_fine(query: str) -> None:
    url = "http://127.0.0.1/status"
    assert read(StatusCallback=url + query)[-3:] == (None, None, url)


def test_the_validity_is_ten_hours_unless_given() -> None:
    assert read().validity == 36_000
    assert read(ValidityPeriod="300").validity == 300


def test_sender_and_service_may_be_given_together() -> None:
    submission = read(MessagingServiceSid=SERVICE)
    assert (submission.sender, submission.service) == ("72345", SERVICE)
