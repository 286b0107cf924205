"""A message: as it is submitted, and as it lives on in the stand-in."""

from typing import Literal, NamedTuple

import msgspec

Status = Literal["accepted", "queued", "sent", "delivered", "undelivered", "failed"]

FINAL: frozenset[Status] = frozenset({"delivered", "undelivered", "failed"})


class Submission(NamedTuple):
    """A valid request to send, not yet taken in. *account* is a SID, *sender* or *service* or both are given."""

    account: str
    to: str
    sender: str | None
    service: str | None
    body: str
    segments: int
    media: int
    validity: int
    callback: str | None
    mid: str | None
    attempt: int | None
    receiver: str | None = None


class Message(msgspec.Struct, gc=False, kw_only=True):
    """One message from its acceptance on; a million of them fit into memory, unseen by the garbage collector.

    *at* and *sent_at* are monotonic seconds, *validity* is seconds. *mid* and *attempt* are the dispatcher's own, from
    the query of the callback's URL; *receiver* is the URL before it, by which two dispatchers can be told apart. *seq*
    counts acceptances from 1, *older* is the *seq* of the message before it to the same recipient, 0 for none. *capped*
    says that the brand had used up its day with T-Mobile. *body* is forgotten after a while, *callback* once the status
    is final.
    """

    at: float
    account: str
    service: str | None
    sender: str
    to: str
    segments: int
    media: int
    body: str | None
    callback: str | None
    mid: str | None
    attempt: int | None
    validity: int
    status: Status
    seq: int = 0
    older: int = 0
    capped: bool = False
    code: int | None = None
    sent_at: float | None = None
    receiver: str | None = None


class Due(msgspec.Struct, order=True, gc=False):
    """Something happens to *message*, which has *seq*, at *at*; the earlier of two is the smaller."""

    at: float
    seq: int
    message: Message


class Change(NamedTuple):
    """A message got a new status at *at* (monotonic seconds); *callback* is the URL that wants to hear of it."""

    message: Message
    status: Status
    code: int | None
    at: float
    callback: str | None
