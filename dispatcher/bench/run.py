"""The rehearsal from its beginning to its end: where to, with what, on topics of its own, and what came of it."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import msgspec
from aiokafka import TopicPartition

from dispatcher.app.program import answers, program
from dispatcher.app.simulator import is_loopback
from dispatcher.bench.drive import SETTLE, Drive, Progress, insist
from dispatcher.bench.findings import Verdict
from dispatcher.bench.ground import TEST_NUMBER, Ground, look_at, stand_in_report
from dispatcher.bench.load import Load, addressed, invented
from dispatcher.bench.promises import Seen
from dispatcher.bench.tally import Tally, measured
from dispatcher.bench.topics import apart, made
from dispatcher.clock import Clock
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.outcome import Result
from dispatcher.domain.settings import Settings
from dispatcher.transport.kafka import make_consumer, make_producer, running

_JOBS_BETWEEN_REPORTS: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How to rehearse: for so many *seconds*, to the *recipients* in a file, and by Twilio for real when *is_live*."""

    seconds: float
    recipients: Path | None = None
    is_live: bool = False


async def rehearse(
    settings: Settings,
    config: Path,
    wish: Wish,
    clock: Clock,
    stop: asyncio.Event,
    *,
    say: Callable[[str], None],
    show: Callable[[Progress], None],
) -> Verdict:
    """Rehearse what *settings*, read from *config*, say; `DispatcherError` when that cannot be, or must not.

    *say* is told what happens, *show* how far it is. *stop* ends it early, with what was measured so far.
    """
    name = f"dispatcher-bench-{uuid4().hex[:8]}"
    random = Random(name)  # noqa: S311 - a load, no secret
    base_url, fleet = settings.twilio.base_url, settings.fleet
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(trust_env=True))
        ground = await look_at(http, settings.twilio, fleet)
        if ground is None:
            if not is_loopback(urlsplit(base_url).hostname or ""):
                raise DispatcherError(
                    f"nobody answers at twilio.base_url {base_url}; correct it, or look at the network"
                )
            say(f"Nobody answers at {base_url}: starting Twilio's stand-in there")
            stand_in = await stack.enter_async_context(program({**os.environ}, "simulate", "-c", str(config)))
            await answers(http, f"{base_url}/healthz", stand_in, clock)
            ground = Ground.STAND_IN
        _permit(ground, wish, base_url)
        own = apart(settings, name)
        if ground is Ground.TEST_CREDENTIALS:
            own = replace(own, twilio=replace(own.twilio, only_number=TEST_NUMBER))
        load = (
            invented(name, fleet, SETTLE + wish.seconds, random)
            if wish.recipients is None
            else addressed(name, fleet, wish.recipients, wish.seconds, random)
        )
        report = await stand_in_report(http, base_url) if ground is Ground.STAND_IN else None
        say(f"Publishing {load.jobs:,} jobs to {name}.jobs; all topics and the group of that name go at the end")
        await stack.enter_async_context(made(own))
        await _publish(own, load, stop, show)
        say(f"Sending against {ground}")
        drive = Drive(own, load, clock, stop, show, random)
        settle = SETTLE if wish.recipients is None else 0.0
        await drive.run(settle, wish.seconds)
        found = Tally()
        async for result in _results(own):
            found.add(result, fleet, since=drive.before.epoch, until=drive.after.epoch)
        return await _verdict(found, drive, settings, ground, report, http)


def _permit(ground: Ground, wish: Wish, base_url: str) -> None:
    """Raise the `DispatcherError` that keeps people who did not ask for it from being texted."""
    if ground is not Ground.LIVE:
        return
    if not wish.is_live:
        raise DispatcherError(
            f"the credentials for {base_url} text people; rehearse with Twilio's test credentials, or against the "
            "stand-in, or allow it with --live --recipients FILE"
        )
    if wish.recipients is None:
        raise DispatcherError("--live texts people for real; say whom with --recipients FILE, nobody else is texted")


async def _publish(own: Settings, load: Load, stop: asyncio.Event, show: Callable[[Progress], None]) -> None:
    encode = msgspec.json.Encoder().encode
    topic = own.priorities[-1].topic
    async with running(make_producer(own.kafka), own.kafka) as producer:
        for done, job in enumerate(load.waiting, 1):
            if done % _JOBS_BETWEEN_REPORTS == 0:
                show(Progress("Publishing", done, load.jobs))
                insist(not stop.is_set())
            await producer.send(topic, encode(job), key=job.to.encode())
        await producer.flush()


async def _results(own: Settings) -> AsyncIterator[Result]:
    """Yield what stands in the topic of results."""
    decode = msgspec.json.Decoder(Result).decode
    partitions = [TopicPartition(own.topics.results, number) for number in range(own.kafka.partitions)]
    async with running(make_consumer(own.kafka, group=False), own.kafka) as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        wanted = sum((await consumer.end_offsets(partitions)).values())
        while wanted:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                wanted -= len(records)
                for record in records:
                    yield decode(record.value)


async def _verdict(
    found: Tally,
    drive: Drive,
    settings: Settings,
    ground: Ground,
    earlier: dict[str, Any] | None,
    http: aiohttp.ClientSession,
) -> Verdict:
    seen = Seen()
    if earlier is not None and (report := await stand_in_report(http, settings.twilio.base_url)) is not None:
        factors = settings.simulator.rate_factors
        slowed = {name: factor for name, factor in factors.items() if factor < 1}
        seen = Seen(earlier, report, slowed, busy_for=drive.end.at - drive.start.at)
    foreign = seen.foreign(found, int(sum(drive.end.of("in_doubt"))))
    return Verdict(
        measured=measured(
            found,
            settings,
            drive.watch,
            drive.before,
            drive.after,
            against=str(ground),
            delays=drive.delays,
            lag=drive.lag,
            stand_in_cpu=seen.cpu,
            slowed=seen.slowed,
            foreign=foreign,
        ),
        troubles=tuple(seen.broken(found, is_shared=foreign > 0)),
        is_judged=seen.is_fresh and not foreign,
    )
