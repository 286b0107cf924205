"""Runs a dispatching worker: opens its ways to Kafka and Twilio, and ends it without losing what is in flight."""

import asyncio
import gc
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from dispatcher.app.live_config import LiveConfig
from dispatcher.app.metrics import metrics_page
from dispatcher.app.worker import Worker, own_name
from dispatcher.clock import Clock
from dispatcher.domain.control import WORKER, Applied, encode
from dispatcher.domain.fence import Fence
from dispatcher.domain.message import JournalPage
from dispatcher.domain.settings import Settings
from dispatcher.engine.pipeline import Pipeline
from dispatcher.engine.reconciler import Reconciler
from dispatcher.intake.callbacks import CallbackLog
from dispatcher.intake.consumer import Intake
from dispatcher.intake.control import ControlReader
from dispatcher.intake.copies import Copies
from dispatcher.intake.recovery import History, Recovered
from dispatcher.intake.sender_news import SenderNews
from dispatcher.intake.suppressions import SuppressionReader
from dispatcher.transport.fenced_producer import FencedProducer
from dispatcher.transport.http import open_http
from dispatcher.transport.kafka import (
    SESSION_TIMEOUT,
    ensure_topics,
    make_admin,
    make_consumer,
    make_producer,
    running,
)
from dispatcher.transport.topics import topics_of_worker

log = structlog.get_logger()

# The lease ends so many seconds before the group would give our partitions away.
LEASE_MARGIN = 4.0


async def run_worker(
    settings: Settings,
    clock: Clock,
    stop: asyncio.Event,
    *,
    page: Path | None = None,
    live: LiveConfig | None = None,
    watch: Callable[[Pipeline], None] | None = None,
) -> None:
    """Dispatch until *stop* is set; then let what is in flight come back, commit, and leave the group.

    The metrics are shown at the socket *page*, without one at `metrics.listen`. With *live*, which said *settings*, the
    worker follows what its file says. *watch* is handed the pipeline before anything leaves, to look into it and no
    more.
    """
    listen = page or settings.metrics
    kafka, topics = settings.kafka, settings.topics
    fence = Fence(SESSION_TIMEOUT - LEASE_MARGIN)
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(running(make_admin(kafka), kafka))
        await ensure_topics(admin, kafka, topics_of_worker(settings))
        # A producer has one request in flight: intents, for which messages wait, must not wait for outcomes.
        for_intents = await stack.enter_async_context(running(make_producer(kafka), kafka))
        # Intents of a worker that was frozen harm nobody; outcomes would be second ones.
        fenced = FencedProducer(lambda: make_producer(kafka), lambda: fence.is_open(clock.monotonic()), clock)
        for_outcomes = await stack.enter_async_context(running(fenced, kafka))
        # Of no group: for the past, the callbacks, and where topics end.
        readers = [await stack.enter_async_context(running(make_consumer(kafka, group=False), kafka)) for _ in range(3)]
        # For the control topic, suppressions, senders.
        followers = [
            await stack.enter_async_context(running(make_consumer(kafka, group=False, follows=True), kafka))
            for _ in range(3)
        ]
        http = await stack.enter_async_context(
            open_http(
                settings.twilio.transport,
                settings.twilio.base_url,
                request_timeout=settings.twilio.request_timeout,
                clock=clock,
                may_write=lambda: fence.is_open(clock.monotonic()),
            )
        )
        tasks = await stack.enter_async_context(asyncio.TaskGroup())

        worker = Worker(settings, clock, for_intents, for_outcomes, http, fence)
        stack.callback(worker.pipeline.halt)  # whatever ends us, nothing leaves any more
        if watch is not None:
            watch(worker.pipeline)
        control = ControlReader(
            followers[0],
            topics.control,
            clock,
            ends=readers[2].end_offsets,
            campaign=worker.obey_campaign,
            sender=worker.obey_sender,
            acknowledge=partial(acknowledge, for_intents, topics.control, own_name()),
        )
        await control.begin()
        news = SenderNews(followers[2], topics.senders, clock, worker.hear)

        async def resume(recovered: Recovered, indices: Collection[int]) -> JournalPage:
            # Whoever said something while these partitions had no owner was not made to wait for us.
            await control.caught_up()
            return await worker.resume(recovered, indices)

        cap_log = await worker.open_caps(stack, for_intents)
        suppressions = SuppressionReader(
            followers[1],
            topics.suppressions,
            kafka.partitions,
            clock,
            suppress=worker.suppressions.suppress,
            lift=worker.suppressions.lift,
        )
        await suppressions.catch_up()
        intake = Intake(
            # By that name who waits for our word finds us in the group.
            open_consumer=lambda: running(make_consumer(kafka, client_id=own_name()), kafka),
            ends=readers[2].end_offsets,
            admin=admin,
            group_id=kafka.group_id,
            priorities=settings.priorities,
            partitions=kafka.partitions,
            clock=clock,
            tasks=tasks,
            receive=worker.pipeline.receive,
            held=worker.held,
            receive_parked=worker.pipeline.receive_parked,
            written=lambda topic, index: worker.publisher.ends.get((topic, index), 0),
            make_room=worker.pipeline.room.make,
            after_batch=worker.driver.wake,
            drain=worker.drain,
            abandon=worker.abandon,
            resume=resume,
            positions=worker.positions,
            history=History(
                readers[0],
                clock,
                journal=topics.journal,
                results=topics.results,
                partitions=kafka.partitions,
                horizon=kafka.dedup_horizon,
                copies=Copies(readers[0], worker.held.topics),
                results_since=None if cap_log is None else partial(worker.take_over_caps, cap_log),
            ),
            fence=fence,
        )
        reconciler = Reconciler(
            worker.pipeline.doubts,
            clock,
            proofs=CallbackLog(readers[1], topics.callbacks, kafka.partitions).proofs if settings.webhooks else None,
            look_up=worker.look_up,
        )

        def measure() -> None:
            intake.measure()
            worker.pipeline.measure()

        if listen is not None:
            await stack.enter_async_context(
                metrics_page(listen, measure=measure, is_ready=lambda: intake.owns_partitions)
            )
        background = [
            tasks.create_task(worker.ledger.run(), name="ledger"),
            tasks.create_task(worker.publisher.run(), name="publisher"),
            tasks.create_task(intake.commit_regularly(), name="committer"),
            tasks.create_task(control.follow(), name="control"),
            tasks.create_task(suppressions.follow(), name="suppressions"),
            tasks.create_task(worker.watch_senders(), name="senders"),
            tasks.create_task(news.follow(), name="sender news"),
            tasks.create_task(reconciler.run(), name="reconciler"),
        ]
        if live is not None:
            background.append(tasks.create_task(live.follow(worker.adopt), name="config"))
        if cap_log is not None:
            background += [
                tasks.create_task(cap_log.follow(), name="caps"),
                tasks.create_task(cap_log.run(), name="claims"),
            ]
        _calm_garbage_collector()
        log.info("dispatching", twilio=settings.twilio.base_url, kafka=kafka.bootstrap_servers, group=kafka.group_id)
        await intake.run(stop)
        log.info("stopped; everything in flight has come back")
        for task in background:
            task.cancel()


async def acknowledge(producer: Any, topic: str, name: str, before: int) -> None:
    """Say that the worker *name* obeys every record of the control topic before the offset *before*."""
    await producer.send_and_wait(
        topic, key=f"{WORKER}{name}".encode(), value=encode(Applied(before=before)), partition=0
    )


def _calm_garbage_collector() -> None:
    """Keep collections from missing a beat: a full one over 100,000 waiting jobs would take a tenth of a second.

    Nothing on the way of a message makes cycles; what was made at start stays.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)
