"""Puts the receiver of callbacks together, runs it, and leaves with everything answered and on its way."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
from prometheus_client import generate_latest

from dispatcher.app.metrics import serve_page
from dispatcher.clock import Clock
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.settings import Settings
from dispatcher.telemetry.metrics import registry
from dispatcher.transport.kafka import ensure_topics, make_admin, make_producer, running
from dispatcher.transport.topics import topic
from dispatcher.webhooks.outbox import Outbox
from dispatcher.webhooks.server import Webhooks, open_webhooks
from dispatcher.webhooks.signature import Signatures
from dispatcher.webhooks.spool import Spool
from dispatcher.webhooks.writer import Writer

log = structlog.get_logger()

# How long leaving may take: for Kafka to get what is on disk, and for its client to close. Seconds.
DRAIN_TIMEOUT = 10.0
CLOSE_TIMEOUT = 5.0


async def run_receiver(settings: Settings, clock: Clock, stop: asyncio.Event) -> None:
    """Take callbacks until *stop* is set, also while Kafka is away; then answer who has called, and flush."""
    webhooks = settings.webhooks
    if webhooks is None:
        raise DispatcherError("the config does not say where Twilio calls; add webhooks.public_url to it")
    async with AsyncExitStack() as stack:
        spool = Spool(webhooks.spool, webhooks.spool_size)
        stack.callback(spool.close)
        writer = Writer(settings.topics.callbacks, settings.kafka.partitions, clock)
        outbox = Outbox(writer, spool, clock)
        stack.callback(outbox.close)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        background = [
            tasks.create_task(writer.run(lambda: _producer(settings)), name="callbacks-writer"),
            tasks.create_task(outbox.keep(), name="callbacks-keeper"),
            tasks.create_task(outbox.replay(), name="callbacks-replay"),
        ]
        if webhooks.metrics_listen is not None:

            async def render() -> bytes:
                outbox.measure()
                return await asyncio.to_thread(generate_latest, registry)

            async def unready() -> str:
                return "" if outbox.has_room else "the disk holds as many callbacks as it may"

            await stack.enter_async_context(serve_page(webhooks.metrics_listen, render=render, unready=unready))
        signatures = Signatures(settings.fleet.accounts.values(), webhooks.public_url)
        async with open_webhooks(
            Webhooks(signatures, webhooks.public_url, outbox.put, clock, settings.opt_outs.replies), webhooks.listen
        ) as listen:
            log.info(
                "receiving callbacks", listen=str(listen), public_url=webhooks.public_url, spool=str(webhooks.spool)
            )
            # What was made by now stays; the collector need not go through it again while Twilio waits.
            gc.collect()
            gc.freeze()
            await stop.wait()
        await _drain(outbox, spool)
        for task in background:
            task.cancel()


async def _drain(outbox: Outbox, spool: Spool) -> None:
    try:
        async with asyncio.timeout(DRAIN_TIMEOUT):
            await outbox.emptied()
    except TimeoutError:
        log.warning(
            "stopped with callbacks that are on disk alone; the next receiver with this webhooks.spool sends them",
            callbacks=spool.records,
        )
    else:
        log.info("stopped; every callback is in Kafka")


@asynccontextmanager
async def _producer(settings: Settings) -> AsyncIterator[Any]:
    """Open a producer, its topic made; close it in bounded time, since a dead broker would hold it up for long."""
    kafka = settings.kafka
    async with running(make_admin(kafka), kafka) as admin:
        await ensure_topics(admin, kafka, [topic(settings, settings.topics.callbacks)])
    async with asyncio.timeout(None) as closing, running(make_producer(kafka), kafka) as producer:
        try:
            yield producer
        finally:
            closing.reschedule(asyncio.get_running_loop().time() + CLOSE_TIMEOUT)
