"""A pipeline on a stage: its clock, its Kafka and its Twilio are in the test's hand."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random
from typing import Any, cast
from urllib.parse import parse_qs

import msgspec

from dispatcher.compliance.frequency import Frequency
from dispatcher.compliance.gate import ComplianceGate
from dispatcher.compliance.quiet_hours import QuietHours
from dispatcher.compliance.suppression import SuppressionList
from dispatcher.delivery.judge import judge
from dispatcher.delivery.request import Request, RequestMaker
from dispatcher.delivery.verdict import Verdict
from dispatcher.domain.caps import CapRules
from dispatcher.domain.control import CampaignRecord
from dispatcher.domain.fence import Fence
from dispatcher.domain.fleet import Fleet, PriorityClass
from dispatcher.domain.frequency import FrequencySettings
from dispatcher.domain.journal import Intent
from dispatcher.domain.message import Message
from dispatcher.domain.outcome import Result, Status
from dispatcher.domain.parking import parked_topics
from dispatcher.domain.quiet_hours import QuietHoursSettings
from dispatcher.domain.rate import Rate
from dispatcher.domain.settings import KafkaSettings, Settings, SimulatorSettings, TwilioSettings
from dispatcher.domain.topics import Topics
from dispatcher.engine.capped import CappedPipeline
from dispatcher.engine.caps import Caps
from dispatcher.engine.pipeline import Pipeline
from dispatcher.outcomes.publisher import Record
from dispatcher.outcomes.results import Outcomes, ToldOutcomes
from tests.clock import FakeClock
from tests.unit.pacing.making import Desk

TIERS = parked_topics(Topics().parked)
# Seconds until what is called back is there.
LOOK = 1.0
# A request comes to Twilio within so many seconds.
ARRIVAL = 20.0
PRIORITIES = (
    PriorityClass(name="urgent", topic="campaign.jobs.urgent", weight=9),
    PriorityClass(name="bulk", topic="campaign.jobs", weight=1),
)


def accepted(request: Request) -> Verdict:
    return judge(201, msgspec.json.encode({"sid": f"SM-{request.message.job.id}", "num_segments": "1"}))


def declined(code: int, status: int = 400) -> Verdict:
    return judge(status, msgspec.json.encode({"code": code, "message": "no", "status": status}))


TOO_MANY = declined(20429, 429)


class _Press:
    """Takes records and has them safe at once."""

    def __init__(self, park: Callable[[str, Record], None]) -> None:
        self.results: list[Result] = []
        self.letters: list[Record] = []
        self._park = park

    def add(self, topic: str, record: Record) -> None:
        if topic == Topics().results:
            self.results.append(msgspec.json.decode(record.value, type=Result))
        elif topic in TIERS:
            self._park(topic, record)
        else:
            self.letters.append(record)
        record.origin.settle(record.offset)


class _Journal:
    """Takes intents; they are safe when `Stage` says so."""

    def __init__(self) -> None:
        self.intents: list[Intent] = []
        self.aheads: list[float] = []
        self.unsafe: list[Message] = []
        self.voided: list[int] = []

    def intend(self, message: Message, intent: Intent, ahead: float) -> None:
        self.intents.append(intent)
        self.aheads.append(ahead)
        self.unsafe.append(message)

    def void(self, message: Message) -> None:
        self.voided.append(message.offset)


@dataclass(slots=True, kw_only=True)
class Arrived:
    """A record of Kafka's."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: Sequence[tuple[str, bytes]] = ()


class Stage:
    """Runs a pipeline over *fleet*. Twilio says what *twilio* returns for a request, *latency* seconds later.

    None for a reply keeps Twilio silent until `reply` is called. An intent is safe *journal* seconds after it was
    written down; inf leaves that to `hand_over_intents`. The topic of caps brings back what is written *claims* seconds
    later.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        twilio: Callable[[Request], Verdict | None] = accepted,
        latency: float = 0.1,
        journal: float = 0.0,
        public_url: str | None = None,
        priorities: Sequence[PriorityClass] = PRIORITIES,
        now: datetime = datetime(2026, 11, 24, 18, tzinfo=UTC),
        quiet_hours: QuietHoursSettings | None = None,
        frequency: FrequencySettings | None = None,
        claims: float = 0.01,
    ) -> None:
        self._claims_seconds = claims
        self.frequency = None if frequency is None else Frequency(frequency)
        self.clock = FakeClock(now)
        self.suppressions = SuppressionList()
        self._quiet_hours = quiet_hours or QuietHoursSettings()
        self.twilio = twilio
        self.latency = latency
        self.desk = Desk()
        self.sent: list[Request] = []
        self.times: list[float] = []
        self.open: list[Request] = []
        self.press = _Press(self._park)
        self.parked: list[Record] = []
        # What is parked now: its topic and since when, by offset.
        self.in_tiers: dict[int, tuple[str, int]] = {}
        self._come_back: dict[int, Callable[[], None]] = {}
        self.tiers = {topic: Desk(topic) for topic in TIERS}
        self.journal = _Journal()
        self.fence = Fence(lease=inf)
        self.fence.renew(self.clock.monotonic())
        self.runs = 0
        self._offsets = count()
        self._order = count()
        self._journal_seconds = journal
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self.caps = caps = self._caps(fleet) if CapRules(fleet) else None
        make_pipeline: type[Pipeline] | partial[CappedPipeline] = Pipeline
        if caps is not None:
            make_pipeline = partial(CappedPipeline, caps=caps)
        self.pipeline: Pipeline = make_pipeline(
            fleet=fleet,
            priorities=tuple(priorities),
            queue_target=1.0,
            queue_delay=3.0,
            in_doubt_hold_off=25.0,
            dedup_horizon=600.0,
            requests=RequestMaker(fleet.pools, public_url),
            ledger=cast("Any", self.journal),
            outcomes=Outcomes(cast("Any", self.press), Topics(), self.clock)
            if caps is None and self.frequency is None
            else ToldOutcomes(cast("Any", self.press), Topics(), self.clock, self._concluding),
            compliance=self._compliance(fleet),
            arrival=ARRIVAL,
            fence=self.fence,
            clock=self.clock,
            random=Random(1),
            send=self._send,
            call_back=self._call_back,
        )
        self.pipeline.resume()
        if caps is not None:
            self._look_at_caps(caps)

    def adopt(
        self, fleet: Fleet, *, queue_target: float = 1.0, priorities: Sequence[PriorityClass] = PRIORITIES
    ) -> None:
        """The config was changed: *fleet* is what there is to send with."""
        settings = Settings(
            kafka=KafkaSettings(bootstrap_servers="nowhere:9092"),
            twilio=TwilioSettings(queue_target=queue_target),
            webhooks=None,
            fleet=fleet,
            topics=Topics(),
            priorities=tuple(priorities),
            metrics=None,
            simulator=SimulatorSettings(),
        )
        self.pipeline.adopt(settings, self._compliance(fleet))

    def _compliance(self, fleet: Fleet) -> ComplianceGate:
        return ComplianceGate(
            suppressions=self.suppressions,
            quiet_hours=QuietHours(self._quiet_hours, reserve=ARRIVAL + 1),
            quiet_pools=[pool.name for pool in fleet.pools.values() if pool.quiet_hours],
            frequency=self.frequency,
            often_pools=[pool.name for pool in fleet.pools.values() if not pool.frequency],
        )

    def _concluding(self, message: Message, status: Status, segments: int) -> None:
        if self.caps is not None:
            self.caps.conclude(message, status, segments)
        if self.frequency is not None:
            is_sent = status in {"accepted", "unknown"}
            self.frequency.concluded(message.job, self.clock.epoch(), is_sent=is_sent)

    def receive(self, priority: int = 1, **job: Any) -> int:
        """Feed a job to the pipeline; what is not given is usual. Return its offset."""
        offset = next(self._offsets)
        usual = {"id": f"job-{offset}", "campaign": "spring", "to": f"+1206555{offset:04}", "pool": "all", "body": "Hi"}
        self.receive_bytes(msgspec.json.encode(usual | job), priority, offset=offset)
        return offset

    def receive_bytes(self, value: bytes | None, priority: int = 1, *, offset: int | None = None) -> None:
        offset = next(self._offsets) if offset is None else offset
        record = Arrived(offset=offset, key=b"key", value=value, timestamp=int(self.clock.epoch() * 1000))
        self.pipeline.receive(self.desk, [record], priority)

    def throttle(self, campaign: str, rate: Rate | None) -> None:
        """An operator, or its publisher, gives *campaign* a rate of its own, or takes it away."""
        self.obey(campaign, rate=None if rate is None else str(rate))

    def obey(self, campaign: str, **said: Any) -> None:
        """The control topic says something about *campaign*."""
        self.pipeline.obey(campaign, CampaignRecord(**said))

    def _caps(self, fleet: Fleet) -> Caps:
        """Return caps whose topic takes a while to bring back what was written."""
        caps = Caps(
            CapRules(fleet), partitions=1, arrival=ARRIVAL, clock=self.clock, results_end=lambda _: len(self.results)
        )
        caps.begin(0, [0])
        offsets = count(1)

        def write() -> None:
            for record in caps.claims():
                self._later(self._claims_seconds, lambda record=record: caps.heard(next(offsets), record))  # type: ignore[misc]

        caps.wake = lambda: self._later(0.0, write)
        return caps

    def _look_at_caps(self, caps: Caps) -> None:
        caps.look()
        self._later(1.0, lambda: self._look_at_caps(caps))

    def _park(self, topic: str, record: Record) -> None:
        """Hand *record* back when it has been in its tier for long enough, or is called back."""
        self.parked.append(record)
        stamp = record.timestamp or 0
        back = Arrived(
            offset=next(self._offsets), key=record.key, value=record.value, timestamp=stamp, headers=record.headers
        )
        self.in_tiers[back.offset] = (topic, stamp)

        def come_back() -> None:
            if self.in_tiers.pop(back.offset, None):
                self.pipeline.receive_parked(self.tiers[topic], [back])

        self._come_back[back.offset] = come_back
        self._later(TIERS[topic], come_back)

    def _call_back(self, tiers: Collection[str], before: float) -> None:
        for offset, (topic, stamp) in self.in_tiers.items():
            if topic.rpartition(".")[2] in tiers and stamp / 1000 <= before:
                self._later(LOOK, self._come_back[offset])

    def reply(self, request: Request, reply: Verdict) -> None:
        """Twilio answers *request*, which it had been silent about, now."""
        self.open.remove(request)
        self.pipeline.answers.answered(request, reply)

    def run(self, seconds: float = 0.0) -> None:
        """Let *seconds* pass, and all happen that happens in them."""
        until = self.clock.monotonic() + seconds
        self._write_intents()
        while True:
            due = min(self.pipeline.next_due(), self._events[0][0] if self._events else inf)
            if due > until:
                self.clock.advance(until - self.clock.monotonic())
                return
            self.clock.advance(max(0.0, due - self.clock.monotonic()))
            while self._events and self._events[0][0] <= self.clock.monotonic():
                heappop(self._events)[2]()
                self._write_intents()
            if self.pipeline.next_due() <= self.clock.monotonic():
                self.runs += 1
                self.pipeline.run()
                self._write_intents()

    def hand_over_intents(self) -> None:
        """The journal has what it was told."""
        safe, self.journal.unsafe = self.journal.unsafe, []
        self.pipeline.intended(safe)

    def _write_intents(self) -> None:
        if not self._journal_seconds:
            while self.journal.unsafe:
                self.hand_over_intents()
        elif self._journal_seconds < inf and self.journal.unsafe:
            safe, self.journal.unsafe = self.journal.unsafe, []
            self._later(self._journal_seconds, lambda: self.pipeline.intended(safe))

    def _later(self, seconds: float, happen: Callable[[], object]) -> None:
        heappush(self._events, (self.clock.monotonic() + seconds, next(self._order), happen))

    def _send(self, request: Request) -> None:
        self.sent.append(request)
        self.times.append(self.clock.monotonic())
        if (reply := self.twilio(request)) is None:
            self.open.append(request)
        else:
            self._later(self.latency, lambda: self.pipeline.answers.answered(request, reply))

    @property
    def results(self) -> list[Result]:
        return self.press.results

    @property
    def letters(self) -> list[Record]:
        return self.press.letters

    def senders(self) -> list[str]:
        """Return the number that each request left by."""
        return [parse_qs(request.form.decode())["From"][0] for request in self.sent]

    def ids(self) -> list[str]:
        """Return the job that each request was for."""
        return [request.message.job.id for request in self.sent]
