"""Everything on one machine, ending by itself: Kafka, Twilio's stand-in, a worker, a campaign, and a verdict."""

import asyncio
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiokafka import TopicPartition

from dispatcher.app.program import STOP_TIMEOUT, answers, program
from dispatcher.broker import jars
from dispatcher.broker.local_kafka import LocalKafka
from dispatcher.clock import Clock
from dispatcher.config.load import load
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.settings import KafkaSettings, Settings
from dispatcher.simulator.judgement import flows, overruns
from dispatcher.transport.kafka import make_consumer, running

LONGEST = 300.0
LOOK_EVERY = 0.5
_VARIABLES = ("DEMO_KAFKA", "DEMO_TWILIO", "DEMO_METRICS", "DEMO_WEBHOOKS")


@dataclass(slots=True)
class Progress:
    """How far the demo is. *flows* are the stand-in's, by sender or `10DLC campaign/carrier`."""

    recipients: int
    seconds: float = 0.0
    results: Counter[str] = field(default_factory=Counter)
    flows: dict[str, dict[str, Any]] = field(default_factory=dict)
    accepted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How it ended. *troubles* are sentences; none when every promise held."""

    progress: Progress
    troubles: tuple[str, ...]


async def run_demo(
    config: Path,
    campaign: Path,
    clock: Clock,
    stop: asyncio.Event,
    *,
    say: Callable[[str], None],
    show: Callable[[Progress], None],
) -> Verdict:
    """Run *campaign* on the settings in *config* and return the verdict; `DispatcherError` when a part fails.

    *say* is told what happens, *show* how far it is, twice a second. *stop* ends it early.
    """
    environ = {
        **os.environ,
        **{name: f"127.0.0.1:{port}" for name, port in zip(_VARIABLES, _free_ports(), strict=True)},
    }
    settings = load(config, environ)
    async with AsyncExitStack() as stack:
        if not jars.are_fetched():
            say("Fetching Apache Kafka, once")
        say("Starting Kafka")
        kafka = LocalKafka(port=int(environ["DEMO_KAFKA"].rpartition(":")[2]))
        stack.push_async_callback(asyncio.to_thread, kafka.close)
        await asyncio.to_thread(kafka.start)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        say("Starting Twilio's stand-in and a worker")
        simulator = await stack.enter_async_context(program(environ, "simulate", "-c", str(config)))
        await answers(http, f"{settings.twilio.base_url}/healthz", simulator, clock)
        worker = await stack.enter_async_context(program(environ, "run", "-c", str(config)))
        await answers(http, f"http://{settings.metrics}/readyz", worker, clock)
        say(f"Publishing {campaign.name}")
        recipients = await _publish(environ, config, campaign)
        say(f"Texting {recipients:,} recipients who don't exist")
        watch = _Watch(settings, http, clock, Progress(recipients))
        return await watch.until_done(worker, stop, show)


class _Watch:
    """Watches the results in Kafka and the stand-in's log."""

    def __init__(self, settings: Settings, http: aiohttp.ClientSession, clock: Clock, progress: Progress) -> None:
        self._settings = settings
        self._http = http
        self._clock = clock
        self._progress = progress
        self._results: Counter[str] = Counter()

    async def until_done(
        self, worker: asyncio.subprocess.Process, stop: asyncio.Event, show: Callable[[Progress], None]
    ) -> Verdict:
        progress = self._progress
        began = self._clock.monotonic()
        async with self._results_from(self._settings.kafka) as results:
            while progress.results.total() < progress.recipients and progress.seconds < LONGEST:
                if stop.is_set():
                    raise DispatcherError("stopped before the end; nothing was decided")
                if worker.returncode is not None:
                    raise DispatcherError(f"the worker ended early with exit code {worker.returncode}")
                await self._count(results)
                report = await self._report()
                progress.seconds = self._clock.monotonic() - began
                progress.flows, progress.accepted = flows(report), report["messages"]
                show(progress)
            # The worker is asked to end first: what it would still send must be in the log that is judged.
            worker.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOP_TIMEOUT):
                code = await worker.wait()
            await self._count(results)
        return Verdict(progress=progress, troubles=tuple(await self._troubles(code)))

    async def _troubles(self, worker_exit: int) -> list[str]:
        report = await self._report()
        self._progress.flows, self._progress.accepted = flows(report), report["messages"]
        texts = Counter([message["mid"] async for message in self._messages()])
        recipients = self._progress.recipients
        troubles = overruns(report)
        if worker_exit:
            troubles.append(f"the worker ended with exit code {worker_exit}")
        if len(texts) != recipients:
            troubles.append(f"{len(texts):,} of {recipients:,} recipients have an accepted message")
        if twice := sum(count > 1 for count in texts.values()):
            troubles.append(f"{twice:,} recipients have more than one")
        if set(self._results) != set(texts) or max(self._results.values(), default=1) > 1:
            troubles.append("the results in Kafka do not agree with the stand-in's log")
        return troubles

    @asynccontextmanager
    async def _results_from(self, kafka: KafkaSettings) -> AsyncIterator[Any]:
        async with running(make_consumer(kafka, group=False), kafka) as consumer:
            partitions = [TopicPartition(self._settings.topics.results, number) for number in range(kafka.partitions)]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            yield consumer

    async def _count(self, results: Any) -> None:
        for records in (await results.getmany(timeout_ms=int(LOOK_EVERY * 1000))).values():
            for record in records:
                result = orjson.loads(record.value)
                self._progress.results[result["status"]] += 1
                self._results[result["id"]] += 1

    async def _report(self) -> dict[str, Any]:
        async with self._http.get(f"{self._settings.twilio.base_url}/_simulator/report") as response:
            report: dict[str, Any] = await response.json()
            return report

    async def _messages(self) -> AsyncIterator[dict[str, Any]]:
        after = 0
        while True:
            url = f"{self._settings.twilio.base_url}/_simulator/messages?after={after}&limit=2000"
            async with self._http.get(url) as response:
                page = await response.json()
            messages = page["messages"] if isinstance(page, dict) else page
            if not messages:
                return
            for message in messages:
                yield message
            after = messages[-1]["seq"]


async def _publish(environ: dict[str, str], config: Path, campaign: Path) -> int:
    """Publish as an operator would, and return how many recipients there are."""
    arguments = ("publish", "-c", str(config), str(campaign), "--yes", "--json")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dispatcher", *arguments, env=environ,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed, said = await process.communicate()
    if process.returncode:
        raise DispatcherError(f"the campaign could not be published: {said.decode().strip()}")
    return int(orjson.loads(printed)["recipients"])


def _free_ports() -> list[int]:
    """Return a port for each of the demo's addresses that nobody listens on now."""
    probes = [socket.socket() for _ in _VARIABLES]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
