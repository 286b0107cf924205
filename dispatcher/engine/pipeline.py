"""The life of one job, top to bottom: received, placed, sent when its turn comes, answered, concluded."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from functools import cache
from math import inf
from random import Random

import structlog

from dispatcher.clock import Clock
from dispatcher.compliance.gate import ComplianceGate, Objection, Postponed
from dispatcher.delivery.ledger import Ledger
from dispatcher.delivery.request import Request, RequestMaker
from dispatcher.delivery.verdict import (
    Accepted,
    Answer,
    Declined,
    InDoubt,
    NoAnswer,
    NotSent,
    Reaction,
    Throttled,
    Unreached,
    judge,
)
from dispatcher.domain.control import CampaignRecord
from dispatcher.domain.fence import Fence
from dispatcher.domain.fleet import Fleet, PriorityClass, Sender
from dispatcher.domain.job import Job
from dispatcher.domain.journal import Intent
from dispatcher.domain.message import Message, Origin, Record
from dispatcher.domain.outcome import Position, Status
from dispatcher.domain.parking import NotParkedError, Whereabouts, read_headers
from dispatcher.domain.phone import country_prefix
from dispatcher.domain.places import country_of, place_of
from dispatcher.domain.segments import count_segments
from dispatcher.engine.campaigns import Campaigns
from dispatcher.engine.doubts import Doubts
from dispatcher.engine.later import Later
from dispatcher.engine.placement import Placement
from dispatcher.engine.repeats import Repeats
from dispatcher.engine.senders import Senders
from dispatcher.intake.decode import NotAJobError, decode
from dispatcher.outcomes.results import Outcomes
from dispatcher.pacing.hierarchy import Hierarchy
from dispatcher.pacing.lane import Lane
from dispatcher.pacing.pacer import Pacer
from dispatcher.pacing.turns import Share
from dispatcher.telemetry import metrics

log = structlog.get_logger()

# Messages are announced in the journal so many seconds before they leave: longer than that takes, with a tick of the
# ledger and an acknowledgement of Kafka's; the shorter, the less is in doubt after a crash.
AHEAD = 0.050
# A family that sends more than Twilio allows it pauses for so many seconds.
FAMILY_PAUSE = 1.0


_REASONS = ("sender", "queue", "account", "family", "campaign", "concurrency", "suspended", "held", "journal")


class Pipeline:
    """Takes jobs in, decides what leaves when, and gives each job one result.

    Everything here is synchronous and runs on the event loop's thread: `receive` with what Kafka brought, `answered`
    with what Twilio said, and `run` whenever `next_due` has come. *send* puts a request on the wire at once; it has
    come to Twilio *arrival* seconds later, or never will.
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        priorities: tuple[PriorityClass, ...],
        queue_target: float,
        queue_delay: float,
        in_doubt_hold_off: float,
        dedup_horizon: float,
        requests: RequestMaker,
        ledger: Ledger,
        outcomes: Outcomes,
        compliance: ComplianceGate,
        arrival: float,
        fence: Fence,
        clock: Clock,
        random: Random,
        send: Callable[[Request], None],
    ) -> None:
        self._compliance = compliance
        self._arrival = arrival
        self._priorities = priorities
        self._requests = requests
        self._ledger = ledger
        self._outcomes = outcomes
        self._fence = fence
        self._clock = clock
        self._send = send
        self._pacer = Pacer(
            admit=self._admit, depart=self._depart, run_dry=self._run_dry, announce=self._announce, ahead=AHEAD
        )
        self.hierarchy = Hierarchy(
            fleet,
            weights=[priority.weight for priority in priorities],
            queue_target=queue_target,
            random=random,
            hold=self._pacer.hold,
        )
        self.placement = Placement(fleet, self.hierarchy, self._pacer)
        self.campaigns = Campaigns(self.hierarchy, self._pacer, outcomes)
        self.senders = Senders(
            self.hierarchy,
            self.placement,
            clock,
            numbers=frozenset(fleet.senders),
            queue_delay=queue_delay,
            stranded=self._refuse_stranded,
        )
        self.doubts = Doubts(
            hold_off=in_doubt_hold_off,
            horizon=dedup_horizon,
            fleet=fleet,
            outcomes=outcomes,
            clock=clock,
            send_again=self._send_again,
        )
        self._repeats = Repeats(dedup_horizon)
        self._recovered: dict[tuple[str, int, int], Intent] = {}
        self._later = Later(priorities, self._repeats, outcomes, clock)
        self._families = {name: account.family for name, account in fleet.accounts.items()}
        self._halted = True
        self.in_flight = 0
        self.quiet = asyncio.Event()
        self.quiet.set()
        self._received = [metrics.JOBS_RECEIVED.labels(priority.name) for priority in priorities]
        self._waited = [metrics.WAITED_SECONDS.labels(priority.name) for priority in priorities]

    # ------------------------------------------------------------------ in

    def receive(self, origin: Origin, records: Iterable[Record], priority: int) -> None:
        """Take *records* of *origin*, of the priority class with that index, in hand."""
        now = self._clock.now()
        jobs = 0
        for record in records:
            try:
                job = self._job_in(record.value)
            except NotAJobError as error:
                self._outcomes.bury(origin, record.offset, record.key, record.value, str(error))
                continue
            jobs += 1
            message = Message(
                job=job,
                origin=origin,
                offset=record.offset,
                priority=priority,
                cost=_cost(job),
                appended_at=record.timestamp / 1000,
            )
            self._take_in_hand(message, now)
        self._received[priority].inc(jobs)

    def receive_parked(self, origin: Origin, records: Iterable[Record]) -> None:
        """Take *records* in hand again that were parked, in a topic *origin* of a tier."""
        now = self._clock.now()
        for record in records:
            try:
                job, parked = self._job_in(record.value), read_headers(record.headers)
            except (NotAJobError, NotParkedError) as error:
                self._outcomes.bury(origin, record.offset, record.key, record.value, str(error))
                continue
            message = Message(
                job=job,
                origin=origin,
                offset=record.offset,
                priority=self._class_called(parked.priority),
                cost=_cost(job),
                appended_at=parked.due,
                attempts=parked.attempts,
                first=parked.first,
            )
            self._take_in_hand(message, now, parked.due)

    def _class_called(self, name: str) -> int:
        """Return the index of the class *name*; that of the least important one if the config has it no more."""
        names = [priority.name for priority in self._priorities]
        return names.index(name) if name in names else len(names) - 1

    def _take_in_hand(self, message: Message, now: datetime, due: float = 0.0) -> None:
        job, origin, offset = message.job, message.origin, message.offset
        place = Position(origin.topic, origin.partition, offset)
        seen = self._repeats.seen_before(job.id, place, self._clock.monotonic(), message.first)
        if self._recovered and (intent := self._recovered.pop((origin.topic, origin.partition, offset), None)):
            # The last owner was about to send it, or did. That comes before any objection: it may have been accepted.
            self.doubts.inherit(message, intent)
        elif seen is place:
            origin.settle(offset)  # a crash left two records of this job, and the other one is cared for
        elif seen is not None:
            reason = f"its id was published before, at {seen.topic}/{seen.partition}/{seen.offset}; an id is sent once"
            self._outcomes.conclude(message, "suppressed", reason=reason)
        elif self.campaigns.stopped and self.campaigns.cancel(message):
            pass
        elif due > now.timestamp():
            self._later.wait(message, due)
        else:
            self._consider(message, now)

    def _consider(self, message: Message, now: datetime) -> None:
        """Place *message*, unless something speaks against it; then conclude it or put it off."""
        match self._compliance.first_objection(message.job, now):
            case None:
                self._place(message)
            case Postponed() as postponed:
                self._put_off(message, postponed)
            case Objection(status=status, reason=reason):
                self._outcomes.conclude(message, status, reason=reason)

    def _put_off(self, message: Message, postponed: Postponed) -> None:
        """Consider *message* again when its time has come."""
        _postponed(postponed.reason).inc()
        self._later.wait(message, postponed.until)

    def _job_in(self, value: bytes | None) -> Job:
        job = decode(value)
        if not self.placement.knows(job.pool):
            raise NotAJobError(f"the config has no pool {job.pool!r}; add it and replay the record, or mend the job")
        return job

    def obey(self, campaign: str, record: CampaignRecord | None) -> None:
        """From now on *record* holds for *campaign*: it runs, maybe slowly, waits, or is cancelled."""
        self.campaigns.obey(campaign, record, self._clock.monotonic())
        if record is not None and record.state == "cancelled":
            self.campaigns.cancel_all(self._later.withdraw(campaign))

    def share(self, owned: Collection[int], of: int) -> None:
        """Run every limit at its share from now on: this worker has the partition indices *owned*, *of* so many."""
        now = self._clock.monotonic()
        epoch = now - self._clock.epoch()
        self.hierarchy.share(Share(frozenset(owned), of, epoch), now)

    def recover(
        self,
        intents: dict[tuple[str, int, int], Intent],
        sids: Iterable[str],
        seen: Mapping[str, Position | Whereabouts],
    ) -> None:
        """The last owners left *intents* without an outcome, by topic, partition and offset.

        They made *sids*, and the jobs that they concluded stand at *seen*, by id.
        """
        self._recovered = intents
        # Another record of a job that is in doubt may come before its own.
        doubted = {
            intent.id: Whereabouts(intent.first or Position(*place), Position(*place))
            for place, intent in intents.items()
        }
        self._repeats.start_with({**seen, **doubted}, self._clock.monotonic())
        for sid in sids:
            self.doubts.remember(sid, None)

    def halt(self) -> None:
        """Let nothing leave any more; `quiet` is set once what is in flight has come back."""
        self._halted = True
        self.doubts.is_open = False

    def resume(self) -> None:
        """Let messages leave."""
        self._halted = False
        self.doubts.is_open = True

    def forget(self) -> None:
        """Drop every message that waits: its partition goes to another worker, or will be read again."""
        self._later.clear()
        self.campaigns.forget()
        self._recovered.clear()
        self.doubts.clear()
        for lane in self.hierarchy.lanes():
            for message in self._pacer.drain(lane):
                self._retract(message)

    def measure(self) -> None:
        """Set the gauges of what waits, where, and what is in flight."""
        now = self._clock.monotonic()
        waiting = dict.fromkeys(_REASONS, 0)
        for lane in self.hierarchy.lanes():
            metrics.LANE_WAITING.labels(lane.name).set(lane.queue.count + lane.prepared)
            depth = max(gate.model.depth(now) / gate.model.rate for gate in lane.queues)
            metrics.QUEUE_SECONDS.labels(lane.name).set(depth)
            held = self.campaigns.held_in(lane)
            waiting["held"] += held
            reason = lane.waiting_at.reason if lane.waiting_at else "campaign"
            waiting[reason] += lane.queue.count + lane.prepared - held
        for reason, messages in waiting.items():
            metrics.WAITING.labels(reason).set(messages)
        for account, gate in self.hierarchy.concurrency.items():
            metrics.IN_FLIGHT.labels(account).set(gate.in_flight)
            metrics.CONCURRENCY.labels(account).set(int(gate.limit.limit))
        metrics.MOVED.set(self.placement.moved)
        metrics.QUARANTINED.set(self.placement.health.count(now))

    # ------------------------------------------------------------------ when

    def run(self) -> None:
        """Let everything leave whose time has come."""
        now = self._clock.monotonic()
        if self._halted or not self._fence.is_open(now):
            return
        for message in self._later.due() if self._later else ():
            self._consider(message, self._clock.now())
        if self.campaigns.has_more:
            self.campaigns.conclude_some()
        self._pacer.run(now)

    def next_due(self) -> float:
        """Return the monotonic time at which `run` is needed next; inf: not before something happens."""
        if self._halted or not self._fence.is_open(self._clock.monotonic()):
            return inf
        if self.campaigns.has_more:
            return 0.0
        due = self._pacer.next_due()
        return min(due, self._later.next_due()) if self._later else due

    def _place(self, message: Message) -> None:
        if self.campaigns.stopped and self.campaigns.cancel(message):
            return
        if not self.placement.place(message, self._clock.monotonic()):
            self._outcomes.conclude(message, "refused", reason=_no_sender(message))

    def _admit(self, message: Message, now: float) -> bool:
        if not message.origin.is_owned:
            return False  # it came back after its partition had gone to another worker
        if self.campaigns.stopped and message.job.campaign in self.campaigns.stopped:
            self._stop(message)
            return False
        if not self._compliance.is_asked_again(message.job):
            return True
        lane: Lane = message.lane
        queued = lane.queued_for(message.cost, now)
        match self._compliance.last_objection(message, lane.sender.number, self._clock.now(), queued):
            case None:
                return True
            case Objection(status=status, reason=reason):
                message.attempts -= 1  # it was announced and did not leave
                self._outcomes.conclude(message, status, reason=reason)
            case Postponed() as postponed:
                self._take_back(message, lane)
                self._put_off(message, postponed)
            case scope:
                self._take_back(message, lane)
                message.tried = (*message.tried, scope.name)
                if not self.placement.place(message, now, front=True):
                    reason = f"the recipient is on the suppression list for every sender of pool {message.job.pool!r}"
                    self._outcomes.conclude(message, "suppressed", reason=reason)
        return False

    def _stop(self, message: Message) -> None:
        """*message* was announced and is not to leave: its campaign has been held meanwhile, or cancelled."""
        if self.campaigns.is_cancelled(message.job.campaign):
            message.attempts -= 1
            self.campaigns.cancel(message)
        else:
            self._choose_anew(message, message.lane)

    def _take_back(self, message: Message, lane: Lane) -> None:
        """*message* was chosen and announced, and does not leave by *lane* after all."""
        message.attempts -= 1
        lane.unchoose(message)
        self._retract(message)

    def _run_dry(self, lane: Lane, now: float) -> None:
        self.placement.relieve(lane, now)

    # ------------------------------------------------------------------ out

    def _announce(self, message: Message, lane: Lane) -> None:
        """*message* is about to leave; it may once the journal says so."""
        if not message.is_announced:
            message.attempts += 1
            message.is_announced = True
        job, origin = message.job, message.origin
        at = self._clock.epoch()
        intent = Intent(origin.topic, message.offset, job.id, message.attempts, lane.sender.number, at, message.first)
        self._ledger.intend(message, intent)

    def intended(self, messages: list[Message]) -> None:
        """The intents of *messages* are safe: they may leave, if they are still ours and their sender may send."""
        now = self._clock.monotonic()
        for message in messages:
            lane: Lane = message.lane
            if not message.origin.is_owned or self._halted:
                self._pacer.withdraw(lane, message)
                self._retract(message)
            elif lane.suspended_for(now):
                self._pacer.withdraw(lane, message)
                self._choose_anew(message, lane)
            else:
                self._pacer.announced(lane, message)

    def _depart(self, message: Message, lane: Lane, now: float) -> None:
        message.departed_at = now
        self.in_flight += 1
        self.quiet.clear()
        epoch = self._clock.epoch()
        self._waited[message.priority].observe(epoch - message.appended_at)
        # Twilio counts from when it has the message.
        self._send(self._requests.make(message, lane.sender, message.not_after - epoch - self._arrival))

    def answered(self, request: Request, answer: Answer | NotSent | NoAnswer) -> None:
        """Twilio's *answer* to *request*, or why there is none."""
        message = request.message
        now = self._clock.monotonic()
        lane: Lane = message.lane
        verdict = judge(answer)
        after = now - message.departed_at
        late_by = lane.concurrency.answered(after, now, healthy=isinstance(verdict, Accepted | Declined))
        _request_seconds(request.account).observe(after)
        match verdict:
            case Accepted(sid=sid, segments=segments):
                lane.accept(message, now, late_by)
                self._accepted(message, lane, sid, segments)
            case Throttled(retry_after=retry_after):
                _requests(request.account, "throttled").inc()
                lane.concurrency.refuse(message.departed_at, retry_after, now)
                self._back_in_line(message, lane)
            case Unreached(reason=reason):
                _requests(request.account, "unreached").inc()
                log.warning("Twilio cannot be reached; the message goes again", account=request.account, reason=reason)
                lane.concurrency.refuse(message.departed_at, None, now)
                self._back_in_line(message, lane)
            case Declined():
                self._declined(message, lane, verdict, now)
            case InDoubt(reason=reason):
                _requests(request.account, "in_doubt").inc()
                lane.accept(message, now, late_by)
                self.doubts.got_no_answer(message, lane.sender.number, reason)
        self._count_down(lane, now)

    def _count_down(self, lane: Lane, now: float) -> None:
        """A request is no longer in flight: others may have waited for that."""
        self.in_flight -= 1
        if not self.in_flight:
            self.quiet.set()
        if self._halted or not self._fence.is_open(now):
            self._pacer.look_again(lane.shared)
            return
        for gate in lane.shared:
            if gate.waiting:
                self._pacer.poke(gate, now)

    def _accepted(self, message: Message, lane: Lane, sid: str, segments: int) -> None:
        _requests(lane.sender.account, "accepted").inc()
        _segments(lane.sender.number).inc(segments or message.cost)
        self.doubts.remember(sid, message.job.id)
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
                self._by_another(message, lane, verdict, barred=True)
            case Reaction.SWITCH_SENDER:
                self._quarantine(lane.sender, verdict, now)
                self._by_another(message, lane, verdict, barred=True)
            case Reaction.WAIT_FOR_SENDER:
                self.senders.refused(lane.sender.number)
                self._quarantine(lane.sender, verdict, now)
                self._by_another(message, lane, verdict)
            case Reaction.CLOSE_COUNTRY:
                prefix = country_prefix(message.job.to)
                log.warning("the account may not send to a country", account=account, country=prefix)
                self.placement.health.close_country(account, prefix)
                self._by_another(message, lane, verdict)
            case Reaction.STOP_ACCOUNT:
                log.error("account quarantined", account=account, code=verdict.code, reason=verdict.reason)
                self._refuse_stranded(self.placement.quarantine_account(account, verdict.reason, now))
                self._by_another(message, lane, verdict)
            case Reaction.SLOW_FAMILY:
                log.warning("account family pauses", account=account, code=verdict.code)
                self.hierarchy.families[self._families[account]].close(FAMILY_PAUSE, now)
                self._back_in_line(message, lane)

    def _quarantine(self, sender: Sender, verdict: Declined, now: float) -> None:
        log.warning("sender quarantined", sender=sender.number, code=verdict.code, reason=verdict.reason)
        self._refuse_stranded(self.placement.quarantine([sender], verdict.reason, now))

    def _refuse_stranded(self, messages: list[Message]) -> None:
        for message in messages:
            message.attempts -= message.is_announced  # it did not leave
            self._outcomes.conclude(message, "refused", reason=_no_sender(message))

    def _back_in_line(self, message: Message, lane: Lane) -> None:
        """*message* was never processed: it goes again, the next of its lane, with no attempt lost."""
        lane.give_back(message)
        if lane.suspended_for(self._clock.monotonic()):
            self._choose_anew(message, lane)
        else:
            self._pacer.go_again(lane, message)

    def _by_another(self, message: Message, lane: Lane, verdict: Declined, *, barred: bool = False) -> None:
        """*message* was not processed: another sender may take it; *barred*: this one never will."""
        lane.give_back(message)
        if barred:
            message.tried = (*message.tried, lane.sender.number)
        self._choose_anew(message, lane, verdict)

    def _choose_anew(self, message: Message, lane: Lane, verdict: Declined | None = None) -> None:
        """Place *message*, which has not left by *lane* after all; its attempts stay what Twilio declined."""
        if verdict is None:
            self._take_back(message, lane)
        else:
            lane.unchoose(message)
            self._retract(message)
        if not self.placement.place(message, self._clock.monotonic(), front=True):
            code, reason = (verdict.code, verdict.reason) if verdict else (None, _no_sender(message))
            self._outcomes.conclude(message, "refused", code=code, reason=reason)

    def _settle_declined(self, message: Message, lane: Lane, status: Status, verdict: Declined) -> None:
        lane.give_back(message)
        self._outcomes.conclude(message, status, code=verdict.code, reason=verdict.reason)

    def _retract(self, message: Message) -> None:
        """Let the journal say that no request for *message* was processed since it was announced.

        Only while its partition is ours: a new owner may have announced it, too.
        """
        if message.is_announced and message.origin.is_owned:
            message.is_announced = False
            self._ledger.void(message.origin, message.offset)

    def _send_again(self, message: Message) -> None:
        """Twilio does not have *message*, as far as can be known."""
        self._retract(message)
        self._consider(message, self._clock.now())


def _cost(job: Job) -> int:
    return 1 if job.media_urls else count_segments(job.body or "")


def _no_sender(message: Message) -> str:
    to, pool = message.job.to, message.job.pool
    return (
        f"no sender of pool {pool!r} can send to {country_prefix(to)} ({country_of(place_of(to))}); add one to the pool"
        ", or the country to the sender or its account"
    )


# Finding a metric's child costs more than counting in it.
_requests = cache(metrics.REQUESTS.labels)
_request_seconds = cache(metrics.REQUEST_SECONDS.labels)
_segments = cache(metrics.SEGMENTS.labels)
_postponed = cache(metrics.POSTPONED.labels)
