"""Puts a dispatching worker together, runs it, and takes it apart without losing what is in flight."""

import asyncio
import gc
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import structlog

from dispatcher.app.metrics import metrics_page
from dispatcher.clock import Clock
from dispatcher.delivery.request import Request, RequestMaker
from dispatcher.delivery.twilio import TwilioApi
from dispatcher.delivery.verdict import Answer, NoAnswer, NotSent
from dispatcher.domain.settings import Settings
from dispatcher.engine.driver import Driver
from dispatcher.engine.pipeline import Pipeline
from dispatcher.intake.consumer import Intake
from dispatcher.intake.control import ControlReader
from dispatcher.intake.offsets import PartitionOffsets
from dispatcher.outcomes.publisher import Publisher
from dispatcher.transport.http import make_session
from dispatcher.transport.kafka import (
    LARGEST_RECORD,
    TopicSpec,
    ensure_topics,
    make_admin,
    make_consumer,
    make_producer,
    running,
)

log = structlog.get_logger()

# Requests in flight get this long to come back before partitions are given up: longer than a request may take, and
# shorter than the group waits (transport.kafka.REBALANCE_TIMEOUT).
DRAIN_TIMEOUT = 25.0


async def run_worker(settings: Settings, clock: Clock, stop: asyncio.Event, *, page: Path | None = None) -> None:
    """Dispatch until *stop* is set; then let what is in flight come back, commit, and leave the group.

    The metrics are shown at the socket *page*, without one at `metrics.listen`.
    """
    listen = page or settings.metrics
    kafka = settings.kafka
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(running(make_admin(kafka), kafka))
        await ensure_topics(admin, kafka, topics_of(settings))
        producer = await stack.enter_async_context(running(make_producer(kafka), kafka))
        control = await stack.enter_async_context(running(make_consumer(kafka, group=False), kafka))
        consumer = await stack.enter_async_context(running(make_consumer(kafka), kafka))
        session = await stack.enter_async_context(make_session(settings.twilio.request_timeout))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())

        worker = Worker(settings, clock, tasks, producer, session)
        stack.callback(worker.pipeline.halt)  # whatever ends us, nothing leaves any more
        reader = ControlReader(control, settings.topics.control, clock, worker.pipeline.throttle)
        await reader.catch_up()
        intake = Intake(
            consumer=consumer,
            admin=admin,
            group_id=kafka.group_id,
            priorities=settings.priorities,
            partitions=kafka.partitions,
            clock=clock,
            receive=worker.receive,
            after_batch=worker.driver.wake,
            drain=worker.drain,
            resume=worker.resume,
        )

        def measure() -> None:
            intake.measure()
            worker.pipeline.measure()

        if listen is not None:
            await stack.enter_async_context(
                metrics_page(listen, measure=measure, is_ready=lambda: intake.owns_partitions)
            )
        background = [
            tasks.create_task(worker.publisher.run(), name="publisher"),
            tasks.create_task(intake.commit_regularly(), name="committer"),
            tasks.create_task(reader.follow(), name="control"),
        ]
        _calm_garbage_collector()
        log.info("dispatching", twilio=settings.twilio.base_url, kafka=kafka.bootstrap_servers, group=kafka.group_id)
        await intake.run(stop)
        log.info("stopped; everything in flight has come back")
        for task in background:
            task.cancel()
        worker.api.close()


class Worker:
    """The parts that a message passes on its way, joined."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        tasks: asyncio.TaskGroup,
        producer: Any,
        session: aiohttp.ClientSession,
    ) -> None:
        fleet = settings.fleet
        public_url = settings.webhooks.public_url if settings.webhooks is not None else None
        self.publisher = Publisher(producer, clock)
        self.api = TwilioApi(
            session, fleet.accounts, base_url=settings.twilio.base_url, tasks=tasks, answered=self._answered
        )
        self.pipeline = Pipeline(
            fleet=fleet,
            priorities=settings.priorities,
            topics=settings.topics,
            queue_target=settings.twilio.queue_target,
            requests=RequestMaker(fleet.pools, public_url),
            publisher=self.publisher,
            clock=clock,
            random=Random(),  # noqa: S311 - jitter, not secrets
            send=self.api.send,
        )
        self.driver = Driver(self.pipeline, clock)

    def receive(self, offsets: PartitionOffsets, record: Any, priority: int) -> None:
        """Take a record of Kafka's in hand."""
        self.pipeline.receive(
            offsets,
            record.offset,
            key=record.key,
            value=record.value,
            appended_at=record.timestamp / 1000,
            priority=priority,
        )

    async def drain(self) -> None:
        """Stop sending, and come back when nothing is in flight and every outcome is safe."""
        self.pipeline.halt()
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT):
                await self.pipeline.quiet.wait()
                self.pipeline.forget()
                await self.publisher.flushed()
        except TimeoutError:
            log.warning(
                "some requests did not come back in time; their jobs will be read again",
                in_flight=self.pipeline.in_flight,
            )
            self.pipeline.forget()

    def resume(self, part: float) -> None:
        """Send again, at *part* of every limit."""
        self.pipeline.share(part)
        self.pipeline.resume()
        self.driver.wake()

    def _answered(self, request: Request, answer: Answer | NotSent | NoAnswer) -> None:
        self.pipeline.answered(request, answer)
        self.driver.wake()


def topics_of(settings: Settings) -> list[TopicSpec]:
    """Return the topics that a worker reads and writes."""
    partitions = settings.kafka.partitions
    topics = settings.topics
    return [
        *(TopicSpec(name=priority.topic, partitions=partitions) for priority in settings.priorities),
        TopicSpec(name=topics.results, partitions=partitions),
        TopicSpec(name=topics.dead_letters, partitions=partitions, config={"max.message.bytes": str(LARGEST_RECORD)}),
        TopicSpec(name=topics.control, partitions=1, config={"cleanup.policy": "compact"}),
    ]


def _calm_garbage_collector() -> None:
    """Keep collections from missing a beat: a full one over 100,000 waiting jobs would take a tenth of a second.

    Nothing on the way of a message makes cycles; what was made at start stays.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)
