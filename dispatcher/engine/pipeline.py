"""The life of one job, top to bottom: received, placed, sent when its turn comes, answered, concluded."""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from functools import cache
from math import inf
from random import Random

import structlog

from dispatcher.clock import Clock
from dispatcher.compliance.gate import ComplianceGate
from dispatcher.compliance.objections import Objection, Postponed
from dispatcher.delivery.ledger import Ledger
from dispatcher.delivery.request import Request, RequestMaker
from dispatcher.delivery.retry import barred
from dispatcher.domain.control import CampaignRecord
from dispatcher.domain.fence import Fence
from dispatcher.domain.fleet import Fleet, PriorityClass, Sender
from dispatcher.domain.job import Job
from dispatcher.domain.journal import Intent, Tried
from dispatcher.domain.message import Message, Origin, Record
from dispatcher.domain.outcome import Position
from dispatcher.domain.parking import EVERY_TIER, HELD, NotParkedError, Whereabouts, read_headers
from dispatcher.domain.segments import count_segments
from dispatcher.domain.settings import Settings
from dispatcher.engine import gauges
from dispatcher.engine.answers import Answers
from dispatcher.engine.campaigns import Campaigns
from dispatcher.engine.doubts import Doubts
from dispatcher.engine.later import Later
from dispatcher.engine.placement import Placement
from dispatcher.engine.repeats import Repeats
from dispatcher.engine.retries import Retries
from dispatcher.engine.returns import Returns, no_sender
from dispatcher.engine.room import Room
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
# The clocks of operators and workers differ by less than so many seconds.
CLOCKS_DIFFER = 5.0


class Pipeline:
    """Takes jobs in, decides what leaves when, and gives each job one result.

    Everything here is synchronous and runs on the event loop's thread: `receive` with what Kafka brought,
    `answers.answered` with what Twilio said, and `run` whenever `next_due` has come. *send* puts a request on the wire
    at once; it has come to Twilio *arrival* seconds later, or never will. *call_back* is told the tiers of which what
    was parked before a time, in seconds of the epoch, is to come back.

    *rests* says that a message could not leave by a sender as things are. *give_back* is called with what was charged
    for leaving and does not leave.
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
        call_back: Callable[[Collection[str], float], None],
        rests: Callable[[Sender, Message], bool] | None = None,
        give_back: Callable[[Message], None] | None = None,
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
        self._call_back = call_back
        self._pacer = Pacer(
            admit=self._admit,
            depart=self._depart,
            run_dry=self._run_dry,
            announce=self._announce,
            ahead=AHEAD,
        )
        self.hierarchy = Hierarchy(
            fleet,
            weights=[priority.weight for priority in priorities],
            queue_target=queue_target,
            random=random,
            hold=self._pacer.hold,
        )
        self.placement = Placement(fleet, self.hierarchy, self._pacer, rests)
        self._repeats = Repeats(dedup_horizon)
        give_back = give_back or _not_charged
        self._later = Later(priorities, self._repeats, outcomes, clock, give_back)
        self._retries = Retries(fleet, self.placement, self._later, outcomes, clock, random)
        self._returns = Returns(self._pacer, self.placement, self._retries, ledger, outcomes, clock, give_back)
        self.senders = Senders(
            self.hierarchy,
            self.placement,
            clock,
            numbers=fleet.senders,
            queue_delay=queue_delay,
            stranded=self._returns.refuse_stranded,
        )
        self.doubts = Doubts(
            hold_off=in_doubt_hold_off,
            horizon=dedup_horizon,
            fleet=fleet,
            outcomes=outcomes,
            clock=clock,
            send_again=self._returns.not_found,
        )
        self._recovered: dict[tuple[str, int, int], Intent] = {}
        self._tried: dict[tuple[str, int, int], Tried] = {}
        self.campaigns = Campaigns(self.hierarchy, self._pacer, self._later, outcomes, clock, go_on=self._place)
        self.room = Room(self.hierarchy, self._later, self.campaigns, clock, call_back)
        self.answers = Answers(
            pacer=self._pacer,
            placement=self.placement,
            doubts=self.doubts,
            returns=self._returns,
            outcomes=outcomes,
            clock=clock,
            queue_is_full=self.senders.refused,
        )
        self._halted = True
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
                history=parked.history,
                tried=barred(parked.history) if parked.history else (),
            )
            # Its lane turned out to be faster than was thought, maybe.
            due = 0.0 if parked.is_booked and record.timestamp / 1000 <= self.room.called_back else parked.due
            self._take_in_hand(message, now, due, is_booked=parked.is_booked)

    def _class_called(self, name: str) -> int:
        """Return the index of the class *name*; that of the least important one if the config has it no more."""
        names = [priority.name for priority in self._priorities]
        return names.index(name) if name in names else len(names) - 1

    def _take_in_hand(self, message: Message, now: datetime, due: float = 0.0, *, is_booked: bool = False) -> None:
        job, origin, offset = message.job, message.origin, message.offset
        place = Position(origin.topic, origin.partition, offset)
        seen = self._repeats.seen_before(job.id, place, self._clock.monotonic(), message.first)
        if self._tried and (tried := self._tried.pop((origin.topic, origin.partition, offset), None)):
            message.attempts, message.history = len(tried.history), tried.history
            message.tried = barred(tried.history)
        if self._recovered and (intent := self._recovered.pop((origin.topic, origin.partition, offset), None)):
            self._inherit(message, intent, now)
        elif seen is place:
            origin.settle(offset)  # a crash left two records of this job, and the other one is cared for
        elif seen is not None:
            reason = f"its id was published before, at {seen.topic}/{seen.partition}/{seen.offset}; an id is sent once"
            self._outcomes.conclude(message, "suppressed", reason=reason)
        elif self.campaigns.stopped and self.campaigns.is_cancelled(job.campaign):
            self.campaigns.stop(message)
        elif due and due > now.timestamp():
            self._later.wait(message, due, is_booked=is_booked)
        else:
            self._consider(message, now)

    def _inherit(self, message: Message, intent: Intent, now: datetime) -> None:
        """The last owner was about to send *message*, or did: it may have been accepted, whatever speaks against it."""
        self.doubts.inherit(message, intent)
        self._compliance.is_in_doubt(message.job, now)

    def _consider(self, message: Message, now: datetime) -> None:
        """Place *message*, unless something speaks against it; then conclude it or put it off."""
        match self._compliance.first_objection(message.job, now):
            case None:
                self._place(message)
            case Postponed() as postponed:
                self._put_off(message, postponed)
            case Objection(status=status, reason=reason):
                self._outcomes.conclude(message, status, reason=reason)

    def _put_off(self, message: Message, postponed: Postponed, *, is_booked: bool = False) -> None:
        """Consider *message* again when its time has come."""
        _postponed(postponed.reason).inc()
        self._later.wait(message, postponed.until, is_booked=is_booked)

    def _job_in(self, value: bytes | None) -> Job:
        job = decode(value)
        if not self.placement.knows(job.pool):
            raise NotAJobError(f"the config has no pool {job.pool!r}; add it and replay the record, or mend the job")
        return job

    def obey(self, campaign: str, record: CampaignRecord | None) -> None:
        """From now on *record* holds for *campaign*: it runs, maybe slowly, waits, or is cancelled."""
        was_stopped = campaign in self.campaigns.stopped
        self.campaigns.obey(campaign, record)
        if self.campaigns.is_cancelled(campaign):
            self.campaigns.withdraw_all(self._later.withdraw(campaign))
        elif campaign in self.campaigns.stopped:
            return
        now = self._clock.epoch()
        if not was_stopped:
            if record is None or record.order is None:
                return  # nobody ever stopped it
            # At its start a worker hears old words again. They concern what was parked before them and no more.
            now = min(now, record.order.at.timestamp() + CLOCKS_DIFFER)
        self._call_back(EVERY_TIER if self.campaigns.is_cancelled(campaign) else (HELD,), now)

    def share(self, owned: Collection[int], of: int) -> None:
        """Run every limit at its share from now on: this worker has the partition indices *owned*, *of* so many."""
        now = self._clock.monotonic()
        epoch = now - self._clock.epoch()
        share = Share(frozenset(owned), of, epoch)
        self.hierarchy.share(share, now)
        self._retries.share(share.part)

    def adopt(self, settings: Settings, compliance: ComplianceGate) -> None:
        """From now on *settings* hold, and *compliance* says what speaks against a message.

        Their priority classes are those there were, at other weights maybe. Nothing leaves by a sender that they have
        no more: what waits for it goes by others. What comes of its requests in flight is dealt with.
        """
        now = self._clock.monotonic()
        fleet = settings.fleet
        self._compliance = compliance
        self._requests.adopt(fleet.pools)
        self.doubts.adopt(fleet, settings.twilio.in_doubt_hold_off)
        weights = [priority.weight for priority in settings.priorities]
        gone = self.placement.adopt(fleet, weights=weights, queue_target=settings.twilio.queue_target, now=now)
        self._retries.adopt(fleet)
        self.senders.adopt(fleet.senders, settings.feedback.queue_delay)
        self._returns.refuse_stranded(self.placement.place_anew(gone, now))
        gauges.clear()

    def recover(
        self,
        intents: dict[tuple[str, int, int], Intent],
        sids: Iterable[str],
        seen: Mapping[str, Position | Whereabouts],
        tried: dict[tuple[str, int, int], Tried],
    ) -> None:
        """The last owners left *intents* without an outcome, by topic, partition and offset, as are who was *tried*.

        They made *sids*, and the jobs that they concluded stand at *seen*, by id.
        """
        self._recovered = intents
        self._tried = tried
        # Another record of a job that is in doubt may come before its own.
        doubted = {
            intent.id: Whereabouts(intent.first or Position(*place), Position(*place))
            for place, intent in intents.items()
        }
        self._repeats.start_with({**seen, **doubted}, self._clock.monotonic())
        for sid in sids:
            self.doubts.remember(sid, None)

    def halt(self) -> None:
        """Let nothing leave any more; `answers.quiet` is set once what is in flight has come back."""
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
        self.room.forget()
        self._recovered.clear()
        self._tried.clear()
        self.doubts.clear()
        for lane in self.hierarchy.lanes():
            for message in self._pacer.drain(lane):
                self._returns.retract(message)

    def measure(self) -> None:
        """Set the gauges of what waits, where, and what is in flight."""
        gauges.show(self.hierarchy, self.placement, self._waiting(), self._clock.monotonic())

    def _waiting(self) -> dict[str, int]:
        """Count the messages that wait, by what they wait for."""
        return gauges.count_waiting(self.hierarchy, self.campaigns)

    # ------------------------------------------------------------------ when

    def run(self) -> None:
        """Let everything leave whose time has come."""
        now = self._clock.monotonic()
        if self._halted or not self._fence.is_open(now):
            return
        self._take_up(now)
        if self.room.due <= now:
            self.room.work()
        self._pacer.run(now)

    def _take_up(self, now: float) -> None:
        """Go on with what has waited in no lane and need not any longer."""
        for message in self._later.due() if self._later else ():
            self._consider(message, self._clock.now())
        if self.campaigns.due <= now:
            self.campaigns.work()

    def next_due(self) -> float:
        """Return the monotonic time at which `run` is needed next; inf: not before something happens."""
        due = min(self._pacer.next_due(), self.campaigns.due, self.room.due, self._later.next_due())
        if due == inf or self._halted or not self._fence.is_open(self._clock.monotonic()):
            return inf
        return due

    def _place(self, message: Message) -> None:
        if self.campaigns.stopped and self.campaigns.stop(message):
            return
        # Who was tried before waited its turn once.
        if not self.placement.place(message, self._clock.monotonic(), front=message.attempts > 0):
            self._outcomes.conclude(message, "refused", reason=no_sender(message))

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
                self._returns.take_back(message, lane)
                self._put_off(message, postponed)
            case scope:
                self._returns.take_back(message, lane)
                message.tried = (*message.tried, scope.name)
                if not self.placement.place(message, now, front=True):
                    reason = f"the recipient is on the suppression list for every sender of pool {message.job.pool!r}"
                    self._outcomes.conclude(message, "suppressed", reason=reason)
        return False

    def _stop(self, message: Message) -> None:
        """*message* was announced and is not to leave: its campaign has been held meanwhile, or cancelled."""
        if self.campaigns.is_cancelled(message.job.campaign):
            message.attempts -= 1
            self.campaigns.stop(message)
        elif self.campaigns.is_parked(message.job.campaign):
            self._returns.take_back(message, message.lane)
            self.campaigns.stop(message)
        else:
            self._returns.choose_anew(message, message.lane)

    def _run_dry(self, lane: Lane, now: float) -> None:
        self.placement.relieve(lane, now)
        if self.room.has_parked and not lane.queue.count:
            self.room.ran_dry(lane)

    # ------------------------------------------------------------------ out

    def _announce(self, message: Message, lane: Lane) -> None:
        """*message* is about to leave; it may once the journal says so."""
        if not message.is_announced:
            message.attempts += 1
            message.is_announced = True
        origin = message.origin
        intent = Intent(
            origin.topic,
            origin.partition,
            message.offset,
            message.job.id,
            message.attempts,
            lane.sender.number,
            self._clock.epoch(),
            message.first,
            message.charged,
        )
        self._ledger.intend(message, intent, min(AHEAD, lane.leaves_in(message.cost, self._clock.monotonic())))

    def intended(self, messages: list[Message]) -> None:
        """The intents of *messages* are safe: they may leave, if they are still ours and their sender may send."""
        now = self._clock.monotonic()
        for message in messages:
            lane: Lane = message.lane
            if not message.origin.is_owned or self._halted:
                self._pacer.withdraw(lane, message)
                self._returns.retract(message)
            elif lane.suspended_for(now):
                self._pacer.withdraw(lane, message)
                self._returns.choose_anew(message, lane)
            else:
                self._pacer.announced(lane, message)

    def _depart(self, message: Message, lane: Lane, now: float) -> None:
        message.departed_at = now
        self.answers.expect_one()
        epoch = self._clock.epoch()
        self._waited[message.priority].observe(epoch - message.appended_at)
        # Twilio counts from when it has the message.
        self._send(self._requests.make(message, lane.sender, message.not_after - epoch - self._arrival))


def _not_charged(_message: Message) -> None:
    """Nothing is charged here."""


def _cost(job: Job) -> int:
    return 1 if job.media_urls else count_segments(job.body or "")


# Finding a metric's child costs more than counting in it.
_postponed = cache(metrics.POSTPONED.labels)
