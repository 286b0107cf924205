"""What speaks against sending a message: the first objection wins. Asked when it comes, and again when it leaves."""

from collections.abc import Collection
from datetime import datetime

from dispatcher.compliance.content import ContentRules
from dispatcher.compliance.frequency import Frequency
from dispatcher.compliance.objections import Objection, Postponed
from dispatcher.compliance.quiet_hours import QuietHours
from dispatcher.compliance.suppression import SuppressionList
from dispatcher.domain.duration import format_duration
from dispatcher.domain.job import MAX_BODY_CHARACTERS, Job
from dispatcher.domain.message import Message
from dispatcher.domain.suppression import SuppressionScope


class ComplianceGate:
    """Holds messages against the law, the recipients' wishes and the config.

    *quiet_pools* are those that keep the *quiet_hours*; *suppressions* are kept current by whoever reads their topic.
    *frequency* counts for all pools, and holds up all but the *often_pools*.
    """

    def __init__(
        self,
        *,
        suppressions: SuppressionList,
        quiet_hours: QuietHours,
        quiet_pools: Collection[str] = (),
        content: ContentRules | None = None,
        frequency: Frequency | None = None,
        often_pools: Collection[str] = (),
    ) -> None:
        self._frequency = frequency
        self._often_pools = frozenset(often_pools)
        self._suppressions = suppressions
        self._quiet_hours = quiet_hours
        self._quiet_pools = frozenset(quiet_pools)
        self._content = content

    def first_objection(self, job: Job, now: datetime) -> Objection | Postponed | None:
        """Return what speaks against taking *job* in hand at *now* (aware), None where nothing does."""
        if (objection := has_expired(job, now) or has_no_body_twilio_takes(job)) is not None:
            return objection
        if (scope := self._suppressions.covering(job.to, job.pool)) is not None:
            return _suppressed(scope)
        if self._content is not None and (finding := self._content.finding(job)) is not None:
            return Objection("refused", finding)
        if job.send_at is not None and job.send_at > now:
            return Postponed(job.send_at.timestamp(), "schedule")
        if self._frequency is not None and (too_often := self._too_often(self._frequency, job, now)) is not None:
            return too_often
        return self._quiet(job, now.timestamp()) if job.pool in self._quiet_pools else None

    def last_objection(
        self, message: Message, sender: str, now: datetime, queued: float
    ) -> Objection | Postponed | SuppressionScope | None:
        """Return what speaks against letting *message* leave by *sender* at *now*; it says until when it may arrive.

        It would lie *queued* seconds at Twilio. A suppression is returned where it keeps only this sender from it.
        """
        objection = self._last_objection(message, sender, now, queued)
        if self._frequency is None or objection is not None:
            return objection
        too_often = self._too_often(self._frequency, message.job, now)
        if too_often is None:
            self._frequency.leaves(message.job, now.timestamp())
        return too_often

    def is_in_doubt(self, job: Job, now: datetime) -> None:
        """*job* may have been sent."""
        if self._frequency is not None:
            self._frequency.leaves(job, now.timestamp())

    def _too_often(self, frequency: Frequency, job: Job, now: datetime) -> Objection | Postponed | None:
        if job.pool in self._often_pools:
            return None
        at = now.timestamp()
        if (reason := frequency.refusal(job, at)) is not None:
            return Objection("suppressed", reason)
        due = frequency.due(job, at)
        return Postponed(due, "frequency") if due > at else None

    def _last_objection(
        self, message: Message, sender: str, now: datetime, queued: float
    ) -> Objection | Postponed | SuppressionScope | None:
        job = message.job
        if job.expires_at is not None and (objection := has_expired(job, now)) is not None:
            return objection
        if (scope := self._suppressions.covering(job.to, job.pool, sender)) is not None:
            return scope if scope.reach == "sender" else _suppressed(scope)
        if job.pool not in self._quiet_pools:
            return None
        at = now.timestamp()
        opening = self._quiet_hours.opening(job, at + queued)
        if opening is None or opening.opens > at:
            return self._quiet(job, at + queued)
        message.not_after = opening.closes
        return None

    def is_asked_again(self, job: Job) -> bool:
        """Say whether `last_objection` may have any against *job*."""
        if job.expires_at is not None or job.pool in self._quiet_pools:
            return True
        return self._frequency is not None or not self._suppressions.is_empty

    def _quiet(self, job: Job, at: float) -> Objection | Postponed | None:
        opening = self._quiet_hours.opening(job, at)
        if opening is None:
            return Objection("refused", self._quiet_hours.why_never(job))
        return Postponed(self._quiet_hours.due(job, opening), "quiet_hours") if opening.opens > at else None


def has_expired(job: Job, now: datetime) -> Objection | None:
    """Object when the job's *expires_at* has passed."""
    if job.expires_at is None or job.expires_at > now:
        return None
    reason = f"it expired at {job.expires_at.isoformat()}, before its turn came"
    if job.send_at is not None:
        late = format_duration((now - job.send_at).total_seconds())
        reason += f"; it was to leave at {job.send_at.isoformat()}, which was missed by {late}"
    return Objection("expired", reason)


def has_no_body_twilio_takes(job: Job) -> Objection | None:
    """Object to a body that is too long, or empty with nothing beside it."""
    if job.body is None:
        return None
    if len(job.body) > MAX_BODY_CHARACTERS:
        return Objection("refused", f"the body has {len(job.body)} characters; Twilio takes {MAX_BODY_CHARACTERS}")
    if not job.body.strip() and not job.media_urls:
        return Objection("refused", "the body is empty")
    return None


def _suppressed(scope: SuppressionScope) -> Objection:
    where = "" if scope.reach == "global" else f" for the {scope.reach} {scope.name}"
    return Objection("suppressed", f"the recipient is on the suppression list{where}")
