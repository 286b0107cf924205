"""The receiver's inside in a test's hand: a Kafka that answers when told, a disk that writes when told, a clock."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaConnectionError, KafkaError

from dispatcher.webhooks.outbox import Outbox
from dispatcher.webhooks.spool import Spool
from dispatcher.webhooks.writer import Writer
from tests.clock import FakeClock

TOPIC = "twilio.callbacks"
STEP = 0.001


class FakeBatch:
    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes]] = []
        self.is_closed = False

    def append(self, *, timestamp: None, key: bytes, value: bytes) -> object:
        assert timestamp is None
        self.records.append((key, value))
        return object()

    def close(self) -> None:
        self.is_closed = True


class FakeKafka:
    """Takes batches, and keeps them in flight until the test acknowledges or refuses them."""

    def __init__(self) -> None:
        self.is_away = False
        self.connections = 0
        self.written: list[bytes] = []
        self.in_flight: dict[int, tuple[FakeBatch, asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def connect(self) -> AsyncIterator["FakeKafka"]:
        if self.is_away:
            raise KafkaConnectionError
        self.connections += 1
        try:
            yield self
        finally:
            self.in_flight.clear()

    def create_batch(self) -> FakeBatch:
        return FakeBatch()

    async def send_batch(self, batch: FakeBatch, topic: str, *, partition: int) -> "asyncio.Future[None]":
        assert topic == TOPIC
        assert batch.is_closed
        assert partition not in self.in_flight, "one batch in flight a partition"
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.in_flight[partition] = batch, answer
        return answer

    def acknowledge(self, *partitions: int) -> None:
        """Write what is in flight to *partitions*, or to all."""
        for partition in partitions or tuple(self.in_flight):
            batch, answer = self.in_flight.pop(partition)
            self.written += [value for _, value in batch.records]
            answer.set_result(None)

    def refuse(self, error: KafkaError, *partitions: int) -> None:
        """Do not write what is in flight to *partitions*, or to any."""
        for partition in partitions or tuple(self.in_flight):
            _, answer = self.in_flight.pop(partition)
            answer.set_exception(error)


class FakeDisk(Executor):
    """Works at once, or when the test says so."""

    def __init__(self) -> None:
        self.is_slow = False
        self.waiting: list[Callable[[], None]] = []

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> "Future[Any]":
        result: Future[Any] = Future()

        def do() -> None:
            try:
                result.set_result(work(*arguments, **named))
            except Exception as error:  # noqa: BLE001 - an executor hands on whatever it is
                result.set_exception(error)

        self.waiting.append(do)
        if not self.is_slow:
            self.work()
        return result

    def work(self) -> None:
        """Do what waits."""
        while self.waiting:
            self.waiting.pop(0)()


class Desk:
    """Everything that stands between a request and its answer."""

    def __init__(self, folder: Path, clock: FakeClock, *, partitions: int = 1, limit: int = 1024 * 1024) -> None:
        self.clock = clock
        self.kafka = FakeKafka()
        self.disk = FakeDisk()
        self.spool = Spool(folder, limit)
        self.writer = Writer(TOPIC, partitions, clock)
        self.outbox = Outbox(self.writer, self.spool, clock)
        self.outbox.close()
        self.outbox._disk = self.disk  # type: ignore[assignment]

    def put(self, *values: str) -> "list[asyncio.Future[bool]]":
        """Take callbacks whose keys are their values."""
        return [self.outbox.put(value.encode(), value.encode()) for value in values]

    async def pass_time(self, seconds: float = 0.0) -> None:
        """Let so much time pass, in small steps, in each of which everybody does what can be done."""
        for _ in range(round(seconds / STEP) + 1):
            await self._settle()
            self.clock.advance(STEP)
        await self._settle()

    @staticmethod
    async def _settle() -> None:
        for _ in range(15):
            await asyncio.sleep(0)


@asynccontextmanager
async def open_desk(folder: Path, clock: FakeClock, *, away: bool = False, **settings: int) -> AsyncIterator[Desk]:
    """Run a desk, its Kafka *away* or not."""
    desk = Desk(folder, clock, **settings)
    desk.kafka.is_away = away
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(desk.writer.run(desk.kafka.connect)),
            tasks.create_task(desk.outbox.keep()),
            tasks.create_task(desk.outbox.replay()),
        ]
        yield desk
        for task in running:
            task.cancel()
    desk.spool.close()
