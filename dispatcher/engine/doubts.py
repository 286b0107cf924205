"""Messages of which nobody knows whether Twilio has them, until evidence or the pool's policy decides."""

from collections.abc import Callable
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count

from dispatcher.clock import Clock
from dispatcher.domain.fleet import Fleet
from dispatcher.domain.journal import Intent
from dispatcher.domain.message import Message
from dispatcher.outcomes.results import Outcomes
from dispatcher.telemetry import metrics

# Twilio's list may be behind: it is looked at twice, so many seconds apart.
SECOND_LOOK = 5.0
LOOKS = 2
# The same text to the same recipient may come from two jobs: so many SIDs at least are remembered to tell them apart,
# and at most twice as many.
REMEMBERED_SIDS = 50_000


class Doubt:
    """One message in doubt. *sender* is the number its request left by.

    *left_at* is when it left at the earliest, in monotonic seconds; *sent_at* is that by the wall clock.
    """

    __slots__ = ("left_at", "looks", "message", "reason", "sender", "sent_at")

    def __init__(self, *, message: Message, sender: str, left_at: float, sent_at: datetime, reason: str) -> None:
        self.message = message
        self.sender = sender
        self.left_at = left_at
        self.sent_at = sent_at
        self.reason = reason
        self.looks = 0


class Doubts:
    """Who is in doubt, when each is to be looked into, and what follows from what was found.

    *hold_off* and *horizon* are in seconds: how long a doubt rests first, and how far back the SIDs of all that was
    sent are known. *send_again* is called with a message that may go again, the sender it left by, and why it was in
    doubt.

    While *is_open* is False nothing follows: the next owner looks for itself, and may have read the results already.
    """

    def __init__(
        self,
        *,
        hold_off: float,
        horizon: float,
        fleet: Fleet,
        outcomes: Outcomes,
        clock: Clock,
        send_again: Callable[[Message, str, str], None],
    ) -> None:
        self.is_open = False
        self._hold_off = hold_off
        self._horizon = horizon
        self._fleet = fleet
        self._outcomes = outcomes
        self._clock = clock
        self._send_again = send_again
        self._agenda: list[tuple[float, int, Doubt]] = []
        self._order = count()
        # Whose message each is, by the job's id; of what a former owner sent that is not known. In two generations.
        self._sids: dict[str, str | None] = {}
        self._older_sids: dict[str, str | None] = {}

    def __len__(self) -> int:
        return len(self._agenda)

    def adopt(self, fleet: Fleet, hold_off: float) -> None:
        """From now on *fleet* is what there is to send with, and a new doubt rests for *hold_off* seconds."""
        self._fleet = fleet
        self._hold_off = hold_off

    def got_no_answer(self, message: Message, sender: str, reason: str) -> None:
        """Our own request for *message*, which left by *sender*, may have been processed."""
        now = self._clock.monotonic()
        left_at = message.departed_at
        sent_at = self._clock.now() - timedelta(seconds=now - left_at)
        doubt = Doubt(message=message, sender=sender, left_at=left_at, sent_at=sent_at, reason=reason)
        self._schedule(doubt, max(now, left_at + self._hold_off))

    def inherit(self, message: Message, intent: Intent) -> None:
        """The last owner of *message* was about to send it, says its *intent*, or did."""
        message.attempts = intent.attempt
        message.sender = self._fleet.senders.get(intent.sender)
        now = self._clock.monotonic()
        # Another's clock, and ours, may be wrong by hours: the request may have left this moment, or long ago. The SIDs
        # of what else was sent within the horizon are known.
        by_the_clock = max(0.0, self._clock.epoch() - intent.at)
        doubt = Doubt(
            message=message,
            sender=intent.sender,
            left_at=now - max(by_the_clock, self._horizon),
            sent_at=self._clock.now() - timedelta(seconds=by_the_clock),
            reason="the worker that was sending it stopped before it had an outcome",
        )
        self._schedule(doubt, now + self._hold_off)

    def due(self) -> list[Doubt]:
        """Take out those that are to be looked into now."""
        now = self._clock.monotonic()
        found = []
        while self._agenda and self._agenda[0][0] <= now:
            found.append(heappop(self._agenda)[2])
        return found

    def postpone(self, doubt: Doubt) -> None:
        """The look failed, so it does not count: look again later."""
        if self.is_open:
            self._schedule(doubt, self._clock.monotonic() + SECOND_LOOK)

    def found(self, doubt: Doubt, sid: str, segments: int, how: str) -> None:
        """Twilio has the message in *doubt*; *how* it was found goes into the metrics."""
        if not self.is_open:
            return
        metrics.DOUBTS.labels(how).inc()
        self.remember(sid, doubt.message.job.id)
        self._outcomes.conclude(doubt.message, "accepted", sid=sid, segments=segments or doubt.message.cost)

    def not_found(self, doubt: Doubt) -> None:
        """A look found no evidence that Twilio has the message in *doubt*: after the last the pool's policy decides."""
        if not self.is_open:
            return
        doubt.looks += 1
        if doubt.looks < LOOKS:
            self._schedule(doubt, self._clock.monotonic() + SECOND_LOOK)
            return
        message = doubt.message
        pool = self._fleet.pools.get(message.job.pool)
        # Of a pool that the config has no more nothing can be sent again.
        policy = pool.in_doubt if pool is not None else "unknown"
        metrics.DOUBTS.labels(policy).inc()
        if policy == "unknown":
            self._outcomes.conclude(message, "unknown", reason=doubt.reason)
        elif message.origin.is_owned:
            self._send_again(message, doubt.sender, doubt.reason)

    def clear(self) -> None:
        """Forget them all: their partitions go to another worker, which reads of them in the journal."""
        self._agenda.clear()

    def is_of_another(self, sid: str, job: str) -> bool:
        """Say whether *sid* is known to be another's than the *job*'s.

        The job's own may be known: Twilio said it, and the result did not come to Kafka before the partition went.
        """
        sids = self._sids if sid in self._sids else self._older_sids
        return sid in sids and sids[sid] != job

    def remember(self, sid: str, job: str | None) -> None:
        """Twilio's message *sid* is that of the *job* with this id; None: it is some job's."""
        self._sids[sid] = job
        if len(self._sids) >= REMEMBERED_SIDS:
            self._older_sids, self._sids = self._sids, {}

    def _schedule(self, doubt: Doubt, when: float) -> None:
        heappush(self._agenda, (when, next(self._order), doubt))
