"""The rehearsal: a worker in this process sends a load of its own, on topics of its own, and is watched."""

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
from dispatcher.app.worker import run_worker
from dispatcher.bench.findings import Verdict
from dispatcher.bench.ground import TEST_NUMBER, Ground, look_at, stand_in_report
from dispatcher.bench.load import Load, addressed, invented
from dispatcher.bench.promises import Seen
from dispatcher.bench.tally import Tally, measured, tally
from dispatcher.bench.topics import apart, made
from dispatcher.bench.watch import Reading, Watch
from dispatcher.clock import Clock
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.outcome import Result
from dispatcher.domain.settings import Settings
from dispatcher.transport.kafka import make_consumer, make_producer, running

# Until concurrency is found and every sender is at its rate (seconds); not measured.
SETTLE: Final = 5.0
LOOK_EVERY: Final = 0.25
# Less than so many seconds would say nothing.
SHORTEST: Final = 2.0
# The worker sends within so many seconds, or never.
START_TIMEOUT: Final = 60.0
# So many looks in a row at which nothing waits are the end.
LOOKS_AT_NOTHING: Final = 4
_JOBS_BETWEEN_REPORTS: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How to rehearse: for so many *seconds*, to the *recipients* in a file, and by Twilio for real when *is_live*."""

    seconds: float
    recipients: Path | None = None
    is_live: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is; *rate* in messages a second."""

    stage: str
    done: float
    total: float
    rate: float = 0.0


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
        drive = _Drive(own, load, clock, stop, show, random)
        settle = SETTLE if wish.recipients is None else 0.0
        await drive.run(settle, wish.seconds)
        found = tally(
            [result async for result in _results(own)], fleet, since=drive.before.epoch, until=drive.after.epoch
        )
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
        for done, job in enumerate(load.waiting):
            if done % _JOBS_BETWEEN_REPORTS == 0:
                show(Progress("Publishing", done, load.jobs))
                if stop.is_set():
                    break
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
    drive: "_Drive",
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


class _Drive:
    """Runs a worker on a load that waits for it, adds urgent messages, and watches both."""

    start: Reading
    before: Reading
    after: Reading
    end: Reading

    def __init__(
        self,
        own: Settings,
        load: Load,
        clock: Clock,
        stop: asyncio.Event,
        show: Callable[[Progress], None],
        random: Random,
    ) -> None:
        self._own = own
        self._load = load
        self._clock = clock
        self._stop = stop
        self._show = show
        self._random = random
        self._published = load.jobs
        self.watch = Watch(own.fleet, clock, urgent=own.priorities[0].name)
        self.delays: list[float] = []
        self.lag = 0

    async def run(self, settle: float, seconds: float) -> None:
        """Let the worker settle, measure for so many *seconds* at most, and let it drain."""
        worker_stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run_worker(self._own, self._clock, worker_stop, watch=self.watch.begin), name="worker")
            urgent = tasks.create_task(self._publish_urgent(), name="urgent")
            await self._wait_for_requests()
            self.start = self.watch.read()
            await self._look_on("Settling", settle)
            self.watch.forget()
            self.delays.clear()
            self.before = self.watch.read()
            self.after = await self._look_on("Measuring", seconds)
            if self._stop.is_set() and self.after.at - self.before.at < SHORTEST:
                raise DispatcherError("stopped before anything was measured")
            urgent.cancel()
            worker_stop.set()
            self._show(Progress("Letting what is in flight come back", 0, 0))
        self.end = self.watch.read()

    async def _wait_for_requests(self) -> None:
        deadline = self._clock.monotonic() + START_TIMEOUT
        while not self.watch.read().requests:
            if self._stop.is_set():
                raise DispatcherError("stopped before anything was measured")
            if self._clock.monotonic() > deadline:
                raise DispatcherError(
                    f"the worker had no answer within {START_TIMEOUT:.0f} s; look with `dispatcher doctor` whether all "
                    "is in place"
                )
            await self._clock.sleep(LOOK_EVERY)

    async def _look_on(self, stage: str, seconds: float) -> Reading:
        """Watch for so many *seconds*, less when nothing is left to send; return the reading at the end."""
        began = now = self._clock.monotonic()
        reading = self.watch.read()
        first, nothing = reading, 0
        while now < began + seconds and nothing < LOOKS_AT_NOTHING and not self._stop.is_set():
            await self._clock.sleep(LOOK_EVERY)
            self.delays.append(self._clock.monotonic() - now - LOOK_EVERY)
            now = self._clock.monotonic()
            self.watch.look()
            self.lag = self._published - int(reading.received)
            nothing = nothing + 1 if self.watch.is_idle and not self.lag else 0
            if nothing <= 1:
                reading = self.watch.read()
            answered = sum(reading.requests.values()) - sum(first.requests.values())
            self._show(Progress(stage, now - began, seconds, answered / (now - began)))
        return reading

    async def _publish_urgent(self) -> None:
        """Publish urgent jobs, at random moments rather than at a beat that may be a sender's."""
        encode = msgspec.json.Encoder().encode
        topic = self._own.priorities[0].topic
        async with running(make_producer(self._own.kafka), self._own.kafka) as producer:
            for job in self._load.urgent:
                await self._clock.sleep(self._random.expovariate(self._load.urgent_rate))
                await producer.send_and_wait(topic, encode(job), key=job.to.encode())
                self._published += 1
