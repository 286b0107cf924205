"""Puts the tracker of deliveries together, runs it, and leaves with all that it read safe in its view."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import aiohttp
import msgspec
import structlog
from prometheus_client import generate_latest

from dispatcher.alerts.rules import spans_of
from dispatcher.alerts.webhooks import Webhooks
from dispatcher.app.alerting import Alerting
from dispatcher.app.feedback import follow_rules
from dispatcher.app.metrics import serve_page
from dispatcher.clock import Clock
from dispatcher.delivery.control_plane import ControlPlane, Fetched
from dispatcher.domain.settings import Settings
from dispatcher.optouts.decide import Decider
from dispatcher.optouts.scribe import Scribe
from dispatcher.telemetry import metrics
from dispatcher.tracking.follower import Follower, Outgoing, ViewThread
from dispatcher.tracking.insight import Insight
from dispatcher.tracking.poller import Poller
from dispatcher.tracking.redeliverer import Clients as Redelivering
from dispatcher.tracking.redeliverer import Redeliverer
from dispatcher.tracking.view import View
from dispatcher.tracking.writing import Entry
from dispatcher.transport.exchange import Send
from dispatcher.transport.http import open_http
from dispatcher.transport.kafka import ensure_topics, make_admin, make_consumer, make_producer, running
from dispatcher.transport.topics import topics_of_tracker

log = structlog.get_logger()

CLOSE_TIMEOUT = 5.0
_encode = msgspec.json.Encoder().encode


async def run_tracker(settings: Settings, clock: Clock, stop: asyncio.Event) -> None:
    """Track until *stop* is set, also while Kafka is away; the batch in hand is finished first."""
    tracking, topics, partitions = settings.tracking, settings.topics, settings.kafka.partitions
    async with AsyncExitStack() as stack:
        thread = ViewThread()
        stack.callback(thread.close)
        view = await thread.do(View, tracking.database, poll_after=tracking.poll_after)
        stack.push_async_callback(thread.do, view.close)
        alerts = settings.alerts
        spans = (*spans_of(alerts), alerts.stalled_after, *(rule.within for rule in settings.feedback.rules))
        insight = Insight(await thread.do(view.queued), spans)
        insight.remember(await thread.do(view.since, clock.epoch() - insight.recent.longest))
        http = await stack.enter_async_context(
            open_http(
                settings.twilio.transport,
                settings.twilio.base_url,
                request_timeout=settings.twilio.request_timeout,
                clock=clock,
            )
        )
        to_tell = await stack.enter_async_context(aiohttp.ClientSession(trust_env=True))
        webhooks = Webhooks(alerts.webhooks, to_tell, clock, Random())  # noqa: S311 - pauses, not secrets
        alerting = Alerting(settings, clock, insight.recent, webhooks)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())

        def beat(now: float) -> Iterable[Outgoing]:
            """Return what is told once a second."""
            states = insight.tell(now)
            for state in states:
                yield Outgoing(topics.senders, 1, Entry(state.sender.encode(), _encode(state)))
            # Of the past that is being read nobody has to be alarmed.
            if follower.is_current:
                yield from alerting.look(states, poller.overdue)

        redelivers = any(pool.retry_undelivered for pool in settings.fleet.pools.values())
        follower = Follower(view, thread, insight, topics, partitions, clock, beat, keeps_jobs=redelivers)
        poller = Poller(
            view,
            thread,
            clock,
            fetch=_fetching(settings, http),
            post=lambda entry: follower.post(Outgoing(topics.callbacks, partitions, entry)),
            is_current=lambda: follower.is_current,
        )
        if tracking.metrics_listen is not None:

            async def render() -> bytes:
                for topic, records in follower.lag.items():
                    metrics.TRACK_LAG.labels(topic).set(records)
                return await asyncio.to_thread(generate_latest, metrics.registry)

            async def unready() -> str:
                return "" if follower.is_current else "there is much that has not been read yet"

            await stack.enter_async_context(serve_page(tracking.metrics_listen, render=render, unready=unready))
        scribe = Scribe(
            Decider(settings.opt_outs.reach, settings.fleet.pools.values()),
            clock,
            callbacks=topics.callbacks,
            results=topics.results,
            topic=topics.suppressions,
        )
        background = [
            tasks.create_task(poller.run(), name="poller"),
            tasks.create_task(webhooks.run(), name="alert-webhooks"),
            tasks.create_task(alerting.follow(), name="alerts-follower"),
            tasks.create_task(
                follow_rules(
                    settings,
                    clock,
                    scopes=insight.recent.scopes,
                    counts=insight.recent.counts,
                    is_current=lambda: follower.is_current,
                ),
                name="feedback",
            ),
        ]
        tasks.create_task(
            scribe.run(lambda: _kafka(settings, f"{settings.kafka.group_id}-opt-outs"), stop), name="scribe"
        )
        if redelivers:
            redeliverer = Redeliverer(
                settings.fleet.pools, clock, deliveries=topics.deliveries, horizon=settings.kafka.dedup_horizon
            )
            tasks.create_task(redeliverer.run(lambda: _redelivering(settings), stop), name="redeliverer")
        log.info("tracking", view=str(tracking.database), kafka=settings.kafka.bootstrap_servers)
        await follower.run(lambda: _kafka(settings, None, alerting), stop)
        for task in background:
            task.cancel()
    log.info("stopped; what was read is in the view")


@asynccontextmanager
async def _kafka(
    settings: Settings, group: str | None, alerting: Alerting | None = None
) -> AsyncIterator[tuple[Any, Any]]:
    """Open a consumer, of *group* where it is one, and a producer, the topics made, and what was raised recalled.

    They are closed in bounded time: a dead broker holds them up.
    """
    kafka = replace(settings.kafka, group_id=group or settings.kafka.group_id)
    async with running(make_admin(kafka), kafka) as admin:
        await ensure_topics(admin, kafka, topics_of_tracker(settings))
    async with (
        running(make_consumer(kafka, group=group is not None), kafka) as consumer,
        asyncio.timeout(None) as closing,
        running(make_producer(kafka), kafka) as producer,
    ):
        try:
            if alerting is not None:
                await alerting.recall(consumer)
            yield consumer, producer
        finally:
            closing.reschedule(asyncio.get_running_loop().time() + CLOSE_TIMEOUT)


@asynccontextmanager
async def _redelivering(settings: Settings) -> AsyncIterator[Redelivering]:
    """Open what the redeliverer works with."""
    async with (
        _kafka(settings, f"{settings.kafka.group_id}-redeliveries") as (consumer, producer),
        running(make_consumer(settings.kafka, group=False), settings.kafka) as reader,
    ):
        yield Redelivering(consumer, reader, producer)


def _fetching(settings: Settings, http: Send) -> Callable[[str, str], Awaitable[Fetched | None]]:
    """Return what asks Twilio about a message: each account at its own pace."""
    twilio, accounts = settings.twilio, settings.fleet.accounts
    planes = {
        name: ControlPlane(http, account, twilio.base_url, settings.tracking.poll_rate)
        for name, account in accounts.items()
    }

    async def fetch(account: str, sid: str) -> Fetched | None:
        # A message of an account that has left the config: nobody can ask.
        plane = planes.get(account)
        return None if plane is None else await plane.message(sid)

    return fetch
