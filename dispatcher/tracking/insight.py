"""What tracking knows right now: recent counts, the senders' state, metrics. It learns what is safe in the view."""

from collections.abc import Collection, Iterable, Mapping
from functools import cache

from dispatcher.domain.counts import Scope
from dispatcher.domain.sender_health import COUNT_SPAN, SenderHealth
from dispatcher.telemetry import metrics
from dispatcher.tracking import past
from dispatcher.tracking.health import Senders
from dispatcher.tracking.lifecycle import STAGES, Passed
from dispatcher.tracking.recent import Recent, Step
from dispatcher.tracking.sums import Progress
from dispatcher.tracking.view import Told

ALL = Scope("all", "")
_COUNTED_OVER = int(COUNT_SPAN)
# Finding a metric's child costs more than counting in it.
_statuses = cache(metrics.DELIVERIES.labels)
_errors = cache(metrics.DELIVERY_ERRORS.labels)


class Insight:
    """*recent* counts over `COUNT_SPAN` and each of *spans*, in seconds; *queued* is what waits at Twilio at first."""

    def __init__(self, queued: Mapping[str, tuple[int, int]], spans: Collection[int] = ()) -> None:
        self.recent = Recent({_COUNTED_OVER, *spans})
        self.senders = Senders(queued)

    def remember(self, passed: Iterable[past.Passed]) -> None:
        """Count what came to pass before this process began."""
        for one in passed:
            for scope in (ALL, Scope("campaign", one.campaign), Scope("sender", one.sender)):
                self.recent.add(scope, one.step, one.at, code=one.code, messages=one.messages)

    def learn(self, told: Told) -> None:
        """Take in what a batch said."""
        for progress in told.progress:
            self._count(progress)
            self._follow(progress)
        for heard, count in told.heard.items():
            metrics.CALLBACKS_READ.labels(heard.value).inc(count)

    def tell(self, now: float) -> list[SenderHealth]:
        """Return the senders' states that are others than those told last."""
        states = self.senders.tell(lambda number: self.recent.counts(Scope("sender", number), _COUNTED_OVER, now), now)
        for state in states:
            metrics.SENDER_QUEUED.labels(state.sender).set(state.queued_messages)
            metrics.SENDER_DELAY.labels(state.sender).set(state.queue_delay or 0.0)
        return states

    def _count(self, progress: Progress) -> None:
        for step, at, code in _steps(progress):
            for scope in (ALL, Scope("campaign", progress.campaign), Scope("sender", progress.sender)):
                self.recent.add(scope, step, at, code=code)
        _statuses(progress.status).inc()
        if Passed.ENDED in progress.passed and progress.code is not None:
            _errors(str(progress.code)).inc()

    def _follow(self, progress: Progress) -> None:
        change = progress.is_queued - progress.was_queued
        if change:
            self.senders.queue(progress.sender, change, change * progress.segments)
        if Passed.LEFT in progress.passed:
            self.senders.left(progress.sender, progress.segments, progress.left_at, progress.queue_delay)
        if progress.queue_delay is not None:
            metrics.QUEUE_DELAY.labels().observe(progress.queue_delay)
        if progress.delivery_delay is not None:
            metrics.DELIVERY_DELAY.labels().observe(progress.delivery_delay)


def _steps(progress: Progress) -> Iterable[tuple[Step, float, int | None]]:
    """Return the steps that a message came to, when, and the code it ended with."""
    if Passed.ACCEPTED in progress.passed:
        yield "accepted", progress.accepted_at, None
    if Passed.LEFT in progress.passed:
        yield "left", progress.left_at, None
    end = STAGES[progress.status].end
    if Passed.ENDED in progress.passed and end is not None:
        yield past.STEP_OF[end], progress.changed_at, progress.code
