"""Whether Twilio has a message that got no answer: what its own list of messages says."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

# `date_created` has whole seconds, and two clocks differ.
SLACK = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One message of Twilio's list. *segments* is 0 where Twilio does not know yet."""

    sid: str
    body: str
    created_at: datetime
    segments: int
    media: int


def find(
    listed: Iterable[Listed],
    *,
    body: str,
    media: int,
    sent_at: datetime,
    until: datetime,
    is_taken: Callable[[str], bool],
) -> Listed | None:
    """Return the message among *listed* that a request sent at *sent_at* made; None when none fits.

    The same text, created between *sent_at* and *until*, whose SID *is_taken* by no other job: the same text may have
    been sent to the same recipient twice.
    """
    fitting = [
        message
        for message in listed
        if message.body == body
        and message.media == media
        and sent_at - SLACK <= message.created_at <= until + SLACK
        and not is_taken(message.sid)
    ]
    return min(fitting, key=lambda message: message.created_at, default=None)
