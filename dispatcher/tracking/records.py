"""Reads what the callbacks and results topics hold into what happened to messages."""

from datetime import datetime

import msgspec

from dispatcher.domain.outcome import Position
from dispatcher.tracking.lifecycle import STAGES, Conclusion, News


class _Parameters(msgspec.Struct, gc=False):
    sender: str | None = msgspec.field(name="From", default=None)
    service: str | None = msgspec.field(name="MessagingServiceSid", default=None)
    to: str = msgspec.field(name="To", default="")


class _Callback(msgspec.Struct, gc=False):
    """What is read of a callback (`dispatcher.domain.callback`)."""

    kind: str
    mid: str | None
    account: str
    sid: str
    status: str
    received_at: datetime
    parameters: _Parameters
    attempt: int | None = None
    error_code: int | None = None


class _Result(msgspec.Struct, gc=False):
    """What is read of a result (`dispatcher.domain.outcome`)."""

    id: str
    campaign: str
    to: str
    status: str
    at: datetime
    sender: str | None = None
    account: str | None = None
    carrier: str | None = None
    sid: str | None = None
    segments: int = 0
    code: int | None = None
    attempts: int = 0
    job: Position | None = None


_callback = msgspec.json.Decoder(_Callback)
_result = msgspec.json.Decoder(_Result)


def read_callback(value: bytes) -> News | None:
    """Return what a callback says of a message of ours; None where it speaks of no such message.

    `ValueError` (msgspec's) when it is no callback.
    """
    callback = _callback.decode(value)
    if callback.kind == "inbound" or not callback.mid or not callback.sid:
        return None
    return News(
        mid=callback.mid,
        sid=callback.sid,
        attempt=callback.attempt or 0,
        status=callback.status,
        code=callback.error_code,
        # As the config and results call it.
        sender=callback.parameters.service or callback.parameters.sender,
        to=callback.parameters.to,
        account=callback.account,
        at=callback.received_at.timestamp(),
        by="poll" if callback.kind == "polled" else "callback",
    )


def read_result(value: bytes, *, keeps_job: bool = False) -> Conclusion:
    """Return what a result says, with where its job stands if *keeps_job*; `ValueError` when it is none."""
    result = _result.decode(value)
    if result.status not in STAGES:
        raise ValueError(f'"{result.status}" is no status of a result')
    return Conclusion(
        mid=result.id,
        campaign=result.campaign,
        to=result.to,
        sender=result.sender,
        account=result.account,
        carrier=result.carrier,
        sid=result.sid,
        status=result.status,
        code=result.code,
        segments=result.segments,
        attempts=result.attempts,
        at=result.at.timestamp(),
        job=str(result.job) if keeps_job and result.job is not None else None,
    )
