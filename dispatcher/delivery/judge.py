"""Reads what Twilio answered: which verdict it is."""

from http import HTTPStatus

import msgspec

from dispatcher.delivery.verdict import (
    CODES,
    Accepted,
    Declined,
    ErrorBody,
    InDoubt,
    Reaction,
    SidAlone,
    Throttled,
    Verdict,
)

_SUCCESS = range(200, 300)
_CLIENT_ERRORS = range(400, 500)
_accepted = msgspec.json.Decoder(Accepted, strict=False)  # Twilio writes the count as a string
_sid = msgspec.json.Decoder(SidAlone)
_error = msgspec.json.Decoder(ErrorBody)
# What decoding a body may raise: it comes over the network, and proxies write some of their own.
_NOT_UNDERSTOOD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def judge(status: int, body: bytes, retry_after: float | None = None) -> Verdict:
    """Return what an answer of Twilio's means; *retry_after* is in seconds.

    Whatever is not understood and may have been processed is in doubt.
    """
    if status in _SUCCESS:
        try:
            return _accepted.decode(body)
        except _NOT_UNDERSTOOD:
            return _judge_odd_success(status, body)
    return _judge_error(status, body, retry_after)


def _judge_odd_success(status: int, body: bytes) -> Verdict:
    """Judge a success whose count of segments may be none: the SID alone proves that the message was taken."""
    try:
        return Accepted(_sid.decode(body).sid)
    except _NOT_UNDERSTOOD:
        return InDoubt(f"Twilio answered {status} without a message SID")


def _judge_error(status: int, body: bytes, retry_after: float | None) -> Verdict:
    code = _code_in(body)
    if code is not None and code in CODES:
        reaction, meaning = CODES[code]
        return Declined(reaction, code, meaning)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Throttled(retry_after)
    if status == HTTPStatus.UNAUTHORIZED:
        return Declined(Reaction.STOP_ACCOUNT, code, "Twilio refuses the account's credentials")
    if status in _CLIENT_ERRORS:
        # An unknown code of the 4xx kind: Twilio did not take it, and would not take it again.
        return Declined(Reaction.REFUSE, code, f"Twilio answered {status}")
    return InDoubt(f"Twilio answered {status}")


def _code_in(body: bytes) -> int | None:
    try:
        return _error.decode(body).code
    except _NOT_UNDERSTOOD:
        return None  # a gateway's HTML page
