"""A request without the wire, and the bytes of an answer to it."""

from http import HTTPStatus
from typing import NamedTuple

from dispatcher.simulator.refusals import REFUSALS, error_body
from dispatcher.simulator.report import Desk

_HEADS = {
    status: f"HTTP/1.1 {status} {HTTPStatus(status).phrase.upper()}\r\nContent-Type: application/json".encode()
    for status in {200, 201, 400, *(refusal.status for refusal in REFUSALS.values())}
}


class Request(NamedTuple):
    """What came over the wire; *authorization* is that header's value."""

    method: bytes
    target: bytes
    authorization: bytes
    body: bytes


class Answer(NamedTuple):
    """What goes back after *delay* seconds: *payload*, head and body, or the end of the connection where it is None.

    *desk* hears `leave` then.
    """

    payload: bytes | None
    delay: float = 0.0
    desk: Desk | None = None


def http_response(status: int, body: bytes, concurrent: int = 1) -> bytes:
    """Return a whole response; *concurrent* is what Twilio says of the account's requests in flight."""
    return b"%b\r\nTwilio-Concurrent-Requests: %d\r\nContent-Length: %d\r\n\r\n%b" % (
        _HEADS[status],
        concurrent,
        len(body),
        body,
    )


def refusal(code: int, concurrent: int = 1) -> bytes:
    """Return the whole response that refuses with *code*."""
    return http_response(REFUSALS[code].status, error_body(code), concurrent)
