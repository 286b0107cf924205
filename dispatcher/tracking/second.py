"""Which message follows one that was not delivered: another with an id of its own, so that each id has one result.

Pure. The id ends in `~2` and so on, and the tags `retry_of` and `retry` say of which message it is and which attempt.
"""

from datetime import datetime, timedelta
from enum import Enum

import msgspec

from dispatcher.domain.fleet import Redelivery
from dispatcher.domain.job import SECOND_MARK, Job

RETRY_OF = "retry_of"
RETRY = "retry"
_LONGEST_ID = 128


class NoSecond(Enum):
    """Why no message follows."""

    EXHAUSTED = "exhausted"
    EXPIRED = "expired"
    LATE = "late"
    TOO_LONG = "its id is too long"


def second_of(job: Job, undelivered_at: datetime, policy: Redelivery, now: datetime, late: float) -> Job | NoSecond:
    """Return the job that follows *job*, which was *undelivered_at* that time, or why there is none.

    It is the same whenever it is asked for. From *late* seconds after its time on there is none: whoever asks so late
    may have asked before, and workers remember an id only for so long.
    """
    tags = job.tags or {}
    first, attempt = tags.get(RETRY_OF, job.id), _attempt(tags.get(RETRY, "1"))
    due = undelivered_at + timedelta(seconds=policy.after)
    if attempt > policy.attempts:
        return NoSecond.EXHAUSTED
    if job.expires_at is not None and due >= job.expires_at:
        return NoSecond.EXPIRED
    if now >= due + timedelta(seconds=late):
        return NoSecond.LATE
    name = f"{first}{SECOND_MARK}{attempt + 1}"
    if len(name) > _LONGEST_ID:
        return NoSecond.TOO_LONG
    linked = {**tags, RETRY_OF: first, RETRY: str(attempt + 1)}
    return msgspec.structs.replace(job, id=name, send_at=due, tags=linked)


def _attempt(text: str) -> int:
    # Somebody else's tag of that name is no number of ours.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 1  # noqa: PLR2004 - digits
