"""What Twilio says to the requests in flight, and what follows from it for the message, its sender and its account."""

import asyncio
from collections.abc import Callable, Sequence
from functools import cache

import structlog

from dispatcher.clock import Clock
from dispatcher.delivery.request import Request
from dispatcher.delivery.verdict import (
    Accepted,
    Declined,
    InDoubt,
    Reaction,
    Throttled,
    Unreached,
    Verdict,
)
from dispatcher.domain.fleet import Sender
from dispatcher.domain.message import Message
from dispatcher.domain.outcome import Status
from dispatcher.domain.phone import country_prefix
from dispatcher.engine.doubts import Doubts
from dispatcher.engine.placement import Placement
from dispatcher.engine.returns import Returns
from dispatcher.outcomes.results import Outcomes
from dispatcher.pacing.gates import Gate
from dispatcher.pacing.lane import Lane
from dispatcher.pacing.pacer import Pacer
from dispatcher.telemetry import metrics

log = structlog.get_logger()

# A family that sends more than Twilio allows it pauses for so many seconds.
FAMILY_PAUSE = 1.0
_PROCESSED = (Accepted, Declined)


class Answers:
    """Counts the requests in flight, and acts on what Twilio says to them.

    *queue_is_full* is called with the number of a sender whose queue at Twilio has no room.
    """

    def __init__(
        self,
        *,
        pacer: Pacer,
        placement: Placement,
        doubts: Doubts,
        returns: Returns,
        outcomes: Outcomes,
        clock: Clock,
        queue_is_full: Callable[[str], None],
    ) -> None:
        self._pacer = pacer
        self._placement = placement
        self._doubts = doubts
        self._returns = returns
        self._outcomes = outcomes
        self._clock = clock
        self._queue_is_full = queue_is_full
        self.in_flight = 0
        self.quiet = asyncio.Event()
        self.quiet.set()

    def expect_one(self) -> None:
        """A request leaves: there will be an answer, or a reason why not."""
        if not self.in_flight:
            self.quiet.clear()
        self.in_flight += 1

    def answered(self, request: Request, verdict: Verdict) -> bool:
        """Act on Twilio's *verdict* on *request*, or why there is none; say whether others have waited for it.

        They leave in the pipeline's next `run`: together with those that the answers beside this one let go.
        """
        message = request.message
        now = self._clock.monotonic()
        lane: Lane = message.lane
        after = now - message.departed_at
        late_by = lane.concurrency.answered(after, now, healthy=isinstance(verdict, _PROCESSED))
        _request_seconds(request.account).observe(after)
        may_open: Sequence[Gate] = lane.shared
        match verdict:
            case Accepted(sid=sid, segments=segments):
                may_open = lane.opened_by_answers
                lane.accept(message, now, late_by)
                self._accepted(message, lane, sid, segments)
            case Throttled(retry_after=retry_after):
                _requests(request.account, "throttled").inc()
                lane.concurrency.refuse(message.departed_at, retry_after, now)
                self._returns.back_in_line(message, lane)
            case Unreached(reason=reason):
                _requests(request.account, "unreached").inc()
                log.warning("Twilio cannot be reached; the message goes again", account=request.account, reason=reason)
                lane.concurrency.refuse(message.departed_at, None, now)
                self._returns.back_in_line(message, lane)
            case Declined():
                self._declined(message, lane, verdict, now)
            case InDoubt(reason=reason):
                _requests(request.account, "in_doubt").inc()
                lane.accept(message, now, late_by)
                self._doubts.got_no_answer(message, lane.sender.number, reason)
        self.in_flight -= 1
        if not self.in_flight:
            self.quiet.set()
        return self._pacer.look_again(may_open)

    def _accepted(self, message: Message, lane: Lane, sid: str, segments: int) -> None:
        _requests(lane.sender.account, "accepted").inc()
        _segments(lane.sender.number).inc(segments or message.cost)
        self._doubts.remember(sid, message.job.id)
        self._outcomes.conclude(message, "accepted", sid=sid, segments=segments or message.cost)

    def _declined(self, message: Message, lane: Lane, verdict: Declined, now: float) -> None:
        """Twilio said no: the table's reaction decides whether to the message, the sender or the account."""
        account = lane.sender.account
        _requests(account, "declined").inc()
        metrics.TWILIO_ERRORS.labels(str(verdict.code or "none")).inc()
        match verdict.reaction:
            case Reaction.REFUSE:
                self._settle_declined(message, lane, "refused", verdict)
            case Reaction.OPTED_OUT:
                self._settle_declined(message, lane, "suppressed", verdict)
            case Reaction.OUR_BUG:
                log.error("Twilio calls our request malformed", code=verdict.code, reason=verdict.reason)
                self._settle_declined(message, lane, "dead", verdict)
            case Reaction.TRY_ANOTHER:
                self._returns.by_another(message, lane, verdict, barred=True)
            case Reaction.SWITCH_SENDER:
                self._quarantine(lane.sender, verdict, now)
                self._returns.by_another(message, lane, verdict, barred=True)
            case Reaction.WAIT_FOR_SENDER:
                self._queue_is_full(lane.sender.number)
                self._quarantine(lane.sender, verdict, now)
                self._returns.by_another(message, lane, verdict)
            case Reaction.CLOSE_COUNTRY:
                prefix = country_prefix(message.job.to)
                log.warning("the account may not send to a country", account=account, country=prefix)
                self._placement.health.close_country(account, prefix)
                self._returns.by_another(message, lane, verdict)
            case Reaction.STOP_ACCOUNT:
                log.error("account quarantined", account=account, code=verdict.code, reason=verdict.reason)
                self._returns.refuse_stranded(self._placement.quarantine_account(account, verdict.reason, now))
                self._returns.by_another(message, lane, verdict)
            case Reaction.SLOW_FAMILY:
                log.warning("account family pauses", account=account, code=verdict.code)
                lane.family.close(FAMILY_PAUSE, now)
                self._returns.back_in_line(message, lane)

    def _quarantine(self, sender: Sender, verdict: Declined, now: float) -> None:
        log.warning("sender quarantined", sender=sender.number, code=verdict.code, reason=verdict.reason)
        self._returns.refuse_stranded(self._placement.quarantine([sender], verdict.reason, now))

    def _settle_declined(self, message: Message, lane: Lane, status: Status, verdict: Declined) -> None:
        lane.give_back(message)
        self._outcomes.conclude(message, status, code=verdict.code, reason=verdict.reason)


# Finding a metric's child costs more than counting in it.
_requests = cache(metrics.REQUESTS.labels)
_request_seconds = cache(metrics.REQUEST_SECONDS.labels)
_segments = cache(metrics.SEGMENTS.labels)
