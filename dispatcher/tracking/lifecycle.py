"""The life of a message after its dispatch: which status leads on to which, and what one message's news add up to.

Pure. Statuses never go back, so news may come in any order and any number of times: a callback that Twilio repeats
(with the same I-Twilio-Idempotency-Token, or the same status of the same SID) leads nowhere the second time.
https://www.twilio.com/docs/messaging/api/message-resource#message-status-values
"""

from collections.abc import Mapping
from enum import Enum, IntFlag, auto
from typing import Final, Literal, NamedTuple

import msgspec


class End(Enum):
    """How a message's life may end."""

    DELIVERED = "delivered"
    FAILED = "failed"
    REFUSED = "refused"


class Stage(NamedTuple):
    """Where a status stands: news lead on only to a higher *rank*. *left*: it has left Twilio's queue for a carrier."""

    rank: int
    left: bool = False
    end: End | None = None


# A line a status: first those of the results topic, then Twilio's own.
STAGES: Final[Mapping[str, Stage]] = {
    # Nothing but a callback has been heard; its result comes.
    "": Stage(0),
    # What a result says. Where Twilio speaks of the message after all, Twilio is right.
    "refused": Stage(1, end=End.REFUSED),
    "suppressed": Stage(1, end=End.REFUSED),
    "expired": Stage(1, end=End.REFUSED),
    "cancelled": Stage(1, end=End.REFUSED),
    "dead": Stage(1, end=End.REFUSED),
    "unknown": Stage(1),
    "accepted": Stage(2),
    "scheduled": Stage(2),
    "queued": Stage(3),
    "sending": Stage(4),
    "sent": Stage(5, left=True),
    # The first end stays: Twilio never takes one back.
    "canceled": Stage(6, end=End.FAILED),
    "failed": Stage(6, end=End.FAILED),
    "undelivered": Stage(6, left=True, end=End.FAILED),
    "delivered": Stage(6, left=True, end=End.DELIVERED),
    # Of channels with receipts, after `delivered`.
    "read": Stage(7, left=True, end=End.DELIVERED),
}
_AT_TWILIO: Final = STAGES["accepted"].rank


class Passed(IntFlag):
    """What a message has come to; each counts once."""

    NOTHING = 0
    ACCEPTED = auto()
    LEFT = auto()
    ENDED = auto()


class Heard(Enum):
    """What news about a message amounted to."""

    NEWS = "news"
    REPEATED = "repeated"
    LATE = "late"
    # Of another request for the same message than the one that counts: it was sent twice, in doubt.
    STRAY = "stray"
    NO_STATUS = "no_status"


class Conclusion(msgspec.Struct, frozen=True, gc=False):
    """What the results topic says of a message; *at* is in seconds of the epoch.

    *job* is where its job stands, as topic/partition/offset, where that is kept.
    """

    mid: str
    campaign: str
    to: str
    sender: str | None
    account: str | None
    carrier: str | None
    sid: str | None
    status: str
    code: int | None
    segments: int
    attempts: int
    at: float
    job: str | None = None


class News(msgspec.Struct, frozen=True, gc=False):
    """What Twilio says of a message, by itself or asked; *at*, in seconds of the epoch, is when we heard."""

    mid: str
    sid: str
    attempt: int
    status: str
    code: int | None
    sender: str | None
    to: str
    account: str
    at: float
    by: Literal["callback", "poll"] = "callback"


class Track(msgspec.Struct, gc=False):
    """All that is known of one message. Times are seconds of the epoch; *changed_at* is when *status* was heard of.

    *campaign* is None until its result is known: until then it counts nowhere. *left_at* is when it was first heard
    that the message left Twilio's queue, None also when only our own asking told, which says nothing about when.
    *number* is its place in the view, None before it has one; *due* is when to ask Twilio, *by* who told of *status*
    just now.
    """

    mid: str
    number: int | None = None
    campaign: str | None = None
    sender: str | None = None
    account: str | None = None
    carrier: str | None = None
    sid: str | None = None
    attempt: int = 0
    status: str = ""
    code: int | None = None
    segments: int = 0
    accepted_at: float | None = None
    left_at: float | None = None
    changed_at: float = 0.0
    due: float | None = None
    polls: int = 0
    job: str | None = None
    by: str = ""

    @property
    def is_at_twilio(self) -> bool:
        """Whether Twilio has it, and it has not ended: more is to be heard."""
        stage = STAGES[self.status]
        return stage.end is None and stage.rank >= _AT_TWILIO

    @property
    def passed(self) -> Passed:
        """What the message has come to, as far as it counts: nothing before its result."""
        if self.campaign is None:
            return Passed.NOTHING
        stage = STAGES[self.status]
        passed = Passed.ACCEPTED if stage.rank >= _AT_TWILIO else Passed.NOTHING
        if stage.left:
            passed |= Passed.LEFT
        return passed | Passed.ENDED if stage.end is not None else passed

    def conclude(self, result: Conclusion) -> bool:
        """Take *result* in; False when there was one already."""
        if self.campaign is not None:
            return False
        if result.sid is not None and self.sid not in {None, result.sid}:
            # What was heard is of an earlier request, which was in doubt; this is the one that counts.
            self.status, self.code, self.left_at = "", None, None
        self.campaign, self.carrier, self.segments = result.campaign, result.carrier, result.segments
        self.sender = result.sender or self.sender
        self.account = result.account or self.account
        self.sid = result.sid or self.sid
        self.attempt = max(result.attempts, self.attempt)
        self.job = result.job
        if result.status == "accepted":
            self.accepted_at = result.at
        if STAGES[result.status].rank > STAGES[self.status].rank:
            self.status, self.code, self.changed_at = result.status, result.code, result.at
        return True

    def hear(self, news: News) -> Heard:
        """Take *news* in, and say what they amounted to."""
        stage = STAGES.get(news.status)
        if stage is None or stage.rank < _AT_TWILIO:
            return Heard.NO_STATUS
        if self.sid is None or (self.campaign is None and news.sid != self.sid and news.attempt > self.attempt):
            self.sid, self.attempt, self.account = news.sid, news.attempt, news.account
            self.status, self.code, self.left_at = self.status if self.campaign else "", None, None
        elif news.sid != self.sid:
            return Heard.STRAY
        if self.sender is None:
            self.sender = news.sender
        before = STAGES[self.status]
        if stage.left and not before.left and news.by == "callback":
            self.left_at = news.at
        if news.status == self.status:
            return Heard.REPEATED
        if stage.rank <= before.rank:
            return Heard.LATE
        self.status, self.code, self.changed_at, self.by = news.status, news.code, news.at, news.by
        return Heard.NEWS
