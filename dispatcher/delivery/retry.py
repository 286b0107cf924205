"""When a message goes again whose attempt came to nothing, and when that ends: a table with one line a class.

What Twilio never processed (429 with 20429, 63017, no connection) is not here: it costs no attempt, and goes again as
soon as the gate opens that closed for it.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple

from dispatcher.delivery.verdict import CODES, Reaction
from dispatcher.domain.job import Job
from dispatcher.domain.outcome import Attempt

# A pause is longer than the table says by up to this part of it, so that those who failed together come back apart.
JITTER = 0.5
_NEVER_BY_IT = frozenset(
    code for code, (reaction, _) in CODES.items() if reaction in {Reaction.TRY_ANOTHER, Reaction.SWITCH_SENDER}
)


class Retry(NamedTuple):
    """At *most* so many attempts; the pause after the first is *first* seconds, then twice as long, up to *longest*."""

    most: int
    first: float
    longest: float

    def pause(self, attempts: int, random: Random) -> float:
        """Return the seconds to wait after so many *attempts*, one at least."""
        # Beyond that even a millisecond is longer than any of them.
        doubled = self.first * 2.0 ** min(attempts - 1, 40)
        return min(self.longest, doubled) * (1.0 + JITTER * random.random())


# By another sender, where one can, a message goes at once: the pauses are for those that have to wait for the same. A
# sender that is out comes back after 30 s, later after 30 min; 50 attempts take more than a day.
RETRIES: Mapping[Reaction, Retry] = {
    Reaction.TRY_ANOTHER: Retry(10, 30.0, 1800.0),
    Reaction.SWITCH_SENDER: Retry(10, 30.0, 1800.0),
    Reaction.CLOSE_COUNTRY: Retry(10, 30.0, 1800.0),
    Reaction.WAIT_FOR_SENDER: Retry(50, 30.0, 1800.0),
    Reaction.STOP_ACCOUNT: Retry(50, 30.0, 1800.0),
}
# What may have been processed was looked for at Twilio for half a minute before.
IN_DOUBT = Retry(10, 1.0, 600.0)


def ends_at(job: Job, history: Iterable[Attempt], validity: float | None) -> datetime | None:
    """Return when *job* is of no use any more; None: that nobody says.

    It is worth sending until it expires, and for *validity* seconds (its pool's) from when its first attempt failed.
    """
    ends = [] if job.expires_at is None else [job.expires_at]
    first = next(iter(history), None)
    if validity is not None and first is not None:
        ends.append(datetime.fromisoformat(first.at) + timedelta(seconds=validity))
    return min(ends, default=None)


def barred(history: Iterable[Attempt]) -> tuple[str, ...]:
    """Return the senders that will never take the message with this *history*."""
    return tuple(attempt.sender for attempt in history if attempt.sender and attempt.code in _NEVER_BY_IT)
