"""Runs a worker on a load that waits for it, adds urgent messages, and watches both."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

import msgspec

from dispatcher.app.dispatching import run_worker
from dispatcher.bench.load import Load
from dispatcher.bench.watch import Reading, Watch
from dispatcher.clock import Clock
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.settings import Settings
from dispatcher.transport.kafka import make_producer, running

# Until concurrency is found and every sender is at its rate (seconds); not measured.
SETTLE: Final = 5.0
LOOK_EVERY: Final = 0.25
# Less than so many seconds would say nothing.
SHORTEST: Final = 2.0
# The worker sends within so many seconds, or never.
START_TIMEOUT: Final = 60.0
# So many looks in a row at which nothing waits are the end.
LOOKS_AT_NOTHING: Final = 4


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is; *rate* in messages a second."""

    stage: str
    done: float
    total: float
    rate: float = 0.0


class Drive:
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
        self.lag = load.jobs

    async def run(self, settle: float, seconds: float) -> None:
        """Let the worker settle, measure for so many *seconds* at most, and let it drain."""
        worker_stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run_worker(self._own, self._clock, worker_stop, watch=self.watch.begin), name="worker")
            urgent = tasks.create_task(self._publish_urgent(), name="urgent")
            self._show(Progress("Starting a worker", 0, 0))
            await self._wait_for_requests()
            self.start = self.watch.read()
            await self._look_on("Settling", settle)
            self.watch.forget()
            self.delays.clear()
            self.lag = self._published
            self.before = self.watch.read()
            self.after = await self._look_on("Measuring", seconds)
            insist(not self._stop.is_set() or self.after.at - self.before.at >= SHORTEST)
            urgent.cancel()
            worker_stop.set()
            self._show(Progress("Letting what is in flight come back", 0, 0))
        self.end = self.watch.read()

    async def _wait_for_requests(self) -> None:
        deadline = self._clock.monotonic() + START_TIMEOUT
        while not self.watch.read().requests:
            insist(not self._stop.is_set())
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
            unread = max(0, self._published - int(reading.received))
            # At one look an urgent job may just be on its way; what is always unread is too much for the worker.
            self.lag = min(self.lag, unread)
            nothing = nothing + 1 if self.watch.is_idle and not unread else 0
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


def insist(holds: bool) -> None:  # noqa: FBT001 - it says what has to hold
    """Leave, unless there is, or will be, something to report."""
    if not holds:
        raise DispatcherError("stopped before anything was measured")
