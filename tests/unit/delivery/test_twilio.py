from typing import Any

import pytest

from dispatcher.delivery.judge import judge
from dispatcher.delivery.request import Request
from dispatcher.delivery.twilio import TwilioApi
from dispatcher.delivery.verdict import InDoubt, Unreached, Verdict
from dispatcher.domain.fleet import Account, Secret
from dispatcher.transport.exchange import Done, Head, NoReplyError, NotWrittenError, Outcome, Reply

SID = "AC" + "1" * 32


class Http:
    """Keeps what is sent until the test answers."""

    def __init__(self) -> None:
        self.sent: list[tuple[Head, bytes, Any, Done]] = []

    def send(self, head: Head, body: bytes, tag: Any, done: Done) -> None:
        self.sent.append((head, body, tag, done))


@pytest.mark.parametrize(
    ("outcome", "answer"),
    [
        (Reply(201, [(b"Retry-After", b"9")], b"{}"), judge(201, b"{}")),
        (Reply(429, [], b"{}"), judge(429, b"{}")),
        (Reply(429, [(b"Retry-After", b"9")], b"{}"), judge(429, b"{}", 9.0)),
        (Reply(429, [(b"retry-after", b"Tue, 24 Nov 2026 18:00:00 GMT")], b"{}"), judge(429, b"{}")),
        (Reply(429, [(b"retry-after", b"\xb2")], b"{}"), judge(429, b"{}")),
        (NotWrittenError("no connection"), Unreached("the request was not written: no connection")),
        (NoReplyError("no answer in time"), InDoubt("Twilio's answer did not come: no answer in time")),
    ],
)
def test_each_request_is_answered_with_what_came_of_it(outcome: Outcome, answer: Verdict) -> None:
    http, answers = Http(), list[tuple[Request, Any]]()
    account = Account(name="main", sid=SID, auth_token=Secret("main-token"))
    api = TwilioApi(
        http.send,
        {"main": account},
        base_url="http://127.0.0.1:8080/",
        answered=lambda request, what: answers.append((request, what)),
    )
    request = Request("main", b"To=%2B12065550142", Any)  # type: ignore[arg-type] # the message is not looked at
    api.send(request)
    [(head, body, tag, done)] = http.sent
    start = head.with_body(body).split(b"\r\n")
    assert start[0] == f"POST /2010-04-01/Accounts/{SID}/Messages.json HTTP/1.1".encode()
    assert b"Content-Type: application/x-www-form-urlencoded" in start
    assert start[-1] == request.form
    done(tag, outcome)
    assert answers == [(request, answer)]
