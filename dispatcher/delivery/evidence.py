"""Whether Twilio has a message that got no answer: what its own list of messages says."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

# Twilio writes times in whole seconds.
SLACK = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One message of Twilio's list. *segments* is 0 where Twilio does not know yet.

    *age* is in seconds, by Twilio's own clock: ours may be wrong by hours.
    """

    sid: str
    body: str
    age: float
    segments: int
    media: int


def find(
    listed: Iterable[Listed], *, body: str, media: int, within: float, is_taken: Callable[[str], bool]
) -> Listed | None:
    """Return the message among *listed* that a request of at most *within* seconds ago made; None when none fits.

    The same text, not older than that, whose SID *is_taken* by no other job: the same text may have been sent to the
    same recipient twice.
    """
    fitting = [
        message
        for message in listed
        if message.body == body
        and message.media == media
        and message.age <= within + SLACK
        and not is_taken(message.sid)
    ]
    return max(fitting, key=lambda message: message.age, default=None)
