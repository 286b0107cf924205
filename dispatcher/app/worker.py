"""A dispatching worker: the parts that a message passes on its way, joined, and how they take hold and let go."""

import asyncio
import os
import socket
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import structlog

from dispatcher.clock import Clock
from dispatcher.compliance.content import ContentRules
from dispatcher.compliance.frequency import Frequency
from dispatcher.compliance.gate import ComplianceGate
from dispatcher.compliance.quiet_hours import QuietHours
from dispatcher.compliance.suppression import SuppressionList
from dispatcher.delivery.evidence import Listed
from dispatcher.delivery.ledger import Ledger
from dispatcher.delivery.request import Request, RequestMaker
from dispatcher.delivery.twilio import TwilioApi
from dispatcher.delivery.verdict import Verdict
from dispatcher.domain.caps import CapRules
from dispatcher.domain.control import CampaignRecord, SenderRecord
from dispatcher.domain.fence import Fence
from dispatcher.domain.fleet import Account, Fleet
from dispatcher.domain.job import Job
from dispatcher.domain.message import JournalPage, Message
from dispatcher.domain.outcome import Status
from dispatcher.domain.parking import parked_topics
from dispatcher.domain.sender_health import SenderHealth
from dispatcher.domain.settings import Settings
from dispatcher.engine.capped import CappedPipeline
from dispatcher.engine.caps import Caps
from dispatcher.engine.driver import Driver
from dispatcher.engine.pipeline import Pipeline
from dispatcher.intake.cap_log import CapLog
from dispatcher.intake.held import Held
from dispatcher.intake.recovery import Recovered
from dispatcher.intake.texted import Texted
from dispatcher.outcomes.publisher import Publisher
from dispatcher.outcomes.results import Outcomes, ToldOutcomes
from dispatcher.telemetry import metrics
from dispatcher.transport.exchange import Send
from dispatcher.transport.fenced_producer import FencedProducer
from dispatcher.transport.kafka import (
    make_consumer,
    running,
)

if TYPE_CHECKING:
    from dispatcher.delivery.control_plane import ControlPlane

log = structlog.get_logger()

# Requests in flight get this long to come back before partitions are given up: longer than a request may take, and
# shorter than the group waits (transport.kafka.REBALANCE_TIMEOUT).
DRAIN_TIMEOUT = 25.0
# Orders about senders end, or come to their next step, so often.
SENDERS_EVERY = 1.0


class Worker:
    """The parts that a message passes on its way, joined."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        for_intents: Any,
        for_outcomes: FencedProducer,
        http: Send,
        fence: Fence,
    ) -> None:
        fleet = settings.fleet
        public_url = settings.webhooks.public_url if settings.webhooks is not None else None
        self._settings = settings
        self._clock = clock
        self._http = http
        self._planes: dict[Account, ControlPlane] = {}
        # Whose senders are, or were: what one sent may be in doubt when the config has it no more.
        self._accounts = _accounts_of_senders(fleet)
        self._for_outcomes = for_outcomes
        self.held = Held(parked_topics(settings.topics.parked))
        self.publisher = Publisher(for_outcomes, clock, fence)
        self.ledger = Ledger(for_intents, settings.topics.journal, own_name(), clock, intended=self._intended)
        self.api = TwilioApi(http, fleet.accounts, base_url=settings.twilio.base_url, answered=self._answered)
        self.suppressions = SuppressionList()
        self.frequency = Frequency(settings.frequency) if settings.frequency else None
        self._texted: Texted | None = None
        self.caps: Caps | None = None
        make_pipeline: type[Pipeline] | partial[CappedPipeline] = Pipeline
        outcomes = Outcomes(self.publisher, settings.topics, clock)
        if rules := CapRules(fleet):
            self.caps = Caps(
                rules,
                partitions=settings.kafka.partitions,
                arrival=settings.twilio.request_timeout,
                clock=clock,
                results_end=lambda index: self.publisher.ends.get((settings.topics.results, index), 0),
            )
            make_pipeline = partial(CappedPipeline, caps=self.caps)
        if self.caps is not None or self.frequency is not None:
            outcomes = ToldOutcomes(self.publisher, settings.topics, clock, self._concluding)
        self.pipeline: Pipeline = make_pipeline(
            fleet=fleet,
            priorities=settings.priorities,
            queue_target=settings.twilio.queue_target,
            queue_delay=settings.feedback.queue_delay,
            in_doubt_hold_off=settings.twilio.in_doubt_hold_off,
            dedup_horizon=settings.kafka.dedup_horizon,
            requests=RequestMaker(fleet.pools, public_url, settings.twilio.only_number),
            ledger=self.ledger,
            outcomes=outcomes,
            compliance=compliance_gate(settings, self.suppressions, self.frequency),
            arrival=settings.twilio.request_timeout,
            fence=fence,
            clock=clock,
            random=Random(),  # noqa: S311 - jitter, not secrets
            send=self.api.send,
            call_back=self.held.call_back,
        )
        self.driver = Driver(self.pipeline, clock)

    def positions(self, index: int) -> tuple[tuple[int, int], int]:
        """Return where a new owner of partition *index* would have to start in the journal and in the results."""
        return self.ledger.position, self.publisher.ends.get((self._settings.topics.results, index), 0)

    async def drain(self) -> None:
        """Stop sending, and come back when nothing is in flight and every outcome is safe."""
        self.pipeline.halt()
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT):
                await self.pipeline.answers.quiet.wait()
                self.pipeline.forget()
                await self.ledger.flushed()
                await self.publisher.flushed()
        except TimeoutError:
            log.warning(
                "some requests did not come back in time; their jobs are in doubt", left=self.pipeline.answers.in_flight
            )
            self.pipeline.forget()
            self.publisher.forget()
            self._for_outcomes.give_up()

    def abandon(self) -> None:
        """Drop everything: the partitions may have another owner."""
        self.pipeline.halt()
        self.pipeline.forget()
        self.ledger.close_book()
        self.publisher.forget()
        self._for_outcomes.give_up()

    async def resume(self, recovered: Recovered, indices: Collection[int]) -> JournalPage:
        """Send again, with the partition *indices*, and look into what the last owners left in doubt."""
        # No two workers own one index: so none writes where another does.
        page = await self.ledger.open_book(min(indices), list(recovered.doubt.values()), list(recovered.tried.values()))
        results = self._settings.topics.results
        self.publisher.ends = {(results, index): end for index, end in recovered.result_ends.items()}
        if self.frequency is not None and self._texted is not None:
            self.frequency.forget()
            await self._texted.read(indices)
        self.pipeline.recover(recovered.doubt, recovered.sids, recovered.seen, recovered.tried)
        if self.caps is not None:
            in_doubt = {place: intent.charges for place, intent in recovered.doubt.items() if intent.charges}
            self.caps.recover(indices, recovered.charged, in_doubt)
        self.pipeline.share(indices, self._settings.kafka.partitions)
        self.pipeline.resume()
        self.driver.wake()
        return page

    async def open_caps(self, stack: AsyncExitStack, producer: Any) -> CapLog | None:
        """Read what was claimed of caps, and be ready to read how often recipients were texted; None: without caps."""
        kafka, topics, clock = self._settings.kafka, self._settings.topics, self._clock
        if self.frequency is not None:
            consumer = await stack.enter_async_context(running(make_consumer(kafka, group=False), kafka))
            memory, remember = self.frequency.memory, self.frequency.remember
            self._texted = Texted(consumer, topics.results, clock, memory=memory, remember=remember)
        if (caps := self.caps) is None:
            return None
        consumer = await stack.enter_async_context(running(make_consumer(kafka, group=False, follows=True), kafka))
        cap_log = CapLog(
            consumer,
            producer,
            topics.caps,
            clock,
            heard=caps.heard,
            after_batch=self.driver.wake,
            claims=caps.claims,
        )
        caps.wake = cap_log.wake
        await cap_log.begin()
        return cap_log

    async def take_over_caps(self, cap_log: CapLog, indices: Collection[int]) -> Mapping[int, int]:
        """Speak for *indices* in the topic of caps; return from where on their results say what was spent since."""
        assert self.caps is not None  # noqa: S101 - the log is there for it
        epoch = await cap_log.take_over(own_name(), indices)
        return self.caps.begin(epoch, indices)

    async def look_up(self, number: str, to: str) -> list[Listed]:
        """Return what Twilio lists of the sender with *number* and a recipient; nothing when it is no longer ours."""
        from dispatcher.delivery.control_plane import ControlPlane  # noqa: PLC0415 - 20 MB, and only for doubts

        account = self._accounts.get(number)
        if account is None:
            return []
        plane = self._planes.get(account)
        if plane is None:
            plane = self._planes[account] = ControlPlane(self._http, account, self._settings.twilio.base_url)
        return await plane.messages(sender=number, to=to)

    def adopt(self, settings: Settings) -> None:
        """From now on *settings* hold, which are others in what may change meanwhile (`dispatcher.config.changes`)."""
        self._settings = settings
        self._accounts |= _accounts_of_senders(settings.fleet)
        self.api.adopt(settings.fleet.accounts)
        self.pipeline.adopt(settings, compliance_gate(settings, self.suppressions, self.frequency))
        self.driver.wake()

    def obey_campaign(self, name: str, record: CampaignRecord | None) -> None:
        """Do with the campaign *name* what *record* says."""
        self.pipeline.obey(name, record)
        self.driver.wake()

    def obey_sender(self, number: str, record: SenderRecord | None) -> None:
        """Do with the sender that has *number* what *record* says."""
        self.pipeline.senders.obey(number, record)
        self.driver.wake()

    def hear(self, health: SenderHealth) -> None:
        """Tracking says how a sender's queue at Twilio is."""
        self.pipeline.senders.hear(health)
        if self.caps is not None:
            self.caps.hear(health)
        self.driver.wake()

    async def watch_senders(self) -> None:
        """See to it, for ever, that orders about senders end when they are over."""
        while True:
            await self._clock.sleep(SENDERS_EVERY)
            self.pipeline.senders.look()
            if self.caps is not None:
                self.caps.look()
            self.driver.wake()

    def _intended(self, messages: list[Message]) -> None:
        self.pipeline.intended(messages)
        self.driver.catch_up()

    def _concluding(self, message: Message, status: Status, segments: int) -> None:
        if self.caps is not None:
            self.caps.conclude(message, status, segments)
        if self.frequency is not None:
            is_sent = status in {"accepted", "unknown"}
            self.frequency.concluded(message.job, self._clock.epoch(), is_sent=is_sent)

    def _answered(self, request: Request, verdict: Verdict) -> None:
        if self.pipeline.answers.answered(request, verdict):
            self.driver.catch_up_soon()
        else:
            self.driver.wake()


def compliance_gate(
    settings: Settings, suppressions: SuppressionList, frequency: Frequency | None = None
) -> ComplianceGate:
    """Return what holds messages against the config, *suppressions*, and how often recipients were texted."""
    content = settings.content
    return ComplianceGate(
        suppressions=suppressions,
        # Twilio counts a validity in whole seconds, of which there has to be one.
        quiet_hours=QuietHours(settings.quiet_hours, reserve=settings.twilio.request_timeout + 1.0),
        quiet_pools=[pool.name for pool in settings.fleet.pools.values() if pool.quiet_hours],
        content=ContentRules(content.rules, content.words, _ContentLog().warn) if content.rules else None,
        frequency=frequency,
        often_pools=[pool.name for pool in settings.fleet.pools.values() if not pool.frequency],
    )


def own_name() -> str:
    """Return what this worker signs with: the journal, and what it obeys."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _accounts_of_senders(fleet: Fleet) -> dict[str, Account]:
    return {number: fleet.accounts[sender.account] for number, sender in fleet.senders.items()}


class _ContentLog:
    """Counts what the rules of `content` warn of, and says it once for each campaign and rule."""

    MOST = 10_000

    def __init__(self) -> None:
        self._said: set[tuple[str, str]] = set()

    def warn(self, rule: str, job: Job, finding: str) -> None:
        """*rule* warns of *job*."""
        metrics.CONTENT_WARNINGS.labels(rule).inc()
        if (job.campaign, rule) not in self._said and len(self._said) < self.MOST:
            self._said.add((job.campaign, rule))
            log.warning("a body that carriers may filter", campaign=job.campaign, rule=rule, finding=finding)
