"""What speaks against sending a message: the first objection wins."""

from collections.abc import Callable
from datetime import datetime

import msgspec

from dispatcher.domain.job import MAX_BODY_CHARACTERS, Job
from dispatcher.domain.outcome import Status


class Objection(msgspec.Struct, frozen=True, gc=False):
    """Why a message is not sent, as a result's status and a sentence."""

    status: Status
    reason: str


def first_objection(job: Job, now: datetime) -> Objection | None:
    """Return the first objection to sending *job* at *now* (aware), None where there is none."""
    for rule in _RULES:
        if (objection := rule(job, now)) is not None:
            return objection
    return None


def has_expired(job: Job, now: datetime) -> Objection | None:
    """Object when the job's *expires_at* has passed."""
    if job.expires_at is None or job.expires_at > now:
        return None
    return Objection("expired", f"it expired at {job.expires_at.isoformat()}, before its turn came")


def _has_a_body_twilio_takes(job: Job, _now: datetime) -> Objection | None:
    if job.body is None:
        return None
    if len(job.body) > MAX_BODY_CHARACTERS:
        return Objection("refused", f"the body has {len(job.body)} characters; Twilio takes {MAX_BODY_CHARACTERS}")
    if not job.body.strip() and not job.media_urls:
        return Objection("refused", "the body is empty")
    return None


_RULES: tuple[Callable[[Job, datetime], Objection | None], ...] = (has_expired, _has_a_body_twilio_takes)
