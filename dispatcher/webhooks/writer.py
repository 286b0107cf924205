"""Writes callbacks to Kafka in batches; a batch of one partition is what is sent, acknowledged and answered."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from enum import Enum, auto
from functools import partial
from typing import Any, NamedTuple

import structlog
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from dispatcher.clock import Clock
from dispatcher.domain.errors import DispatcherError
from dispatcher.telemetry import metrics

log = structlog.get_logger()

# Callbacks that come within a tick go out together; the first after a pause does not wait for others. Seconds.
TICK = 0.010
RETRY_AFTER = 1.0
# Bytes. A fourth of what a batch of the producer holds, so that keys and frames never overfill one.
_BATCH_SIZE = 64 * 1024


class Entry(NamedTuple):
    """A record to be written."""

    key: bytes
    value: bytes


class State(Enum):
    """Where a batch is; WITHDRAWN means that it is not for the writer any more."""

    WAITING = auto()
    SENDING = auto()
    WRITTEN = auto()
    FAILED = auto()
    WITHDRAWN = auto()


class Batch:
    """Callbacks of one partition that share their fate.

    *kept* is whether they are durable, as far as it has to be known. *is_spooled*: they come from the disk, so nobody
    waits for an answer, and nothing is added. *opened_at* and *sent_at* are monotonic.
    """

    __slots__ = ("count", "entries", "is_spooled", "kept", "opened_at", "partition", "sent_at", "size", "state")

    def __init__(self, partition: int, opened_at: float, *, is_spooled: bool = False) -> None:
        self.partition = partition
        self.opened_at = opened_at
        self.is_spooled = is_spooled
        self.sent_at = 0.0
        self.entries: list[Entry] = []
        self.count = self.size = 0
        self.state = State.WAITING
        self.kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def has_room_for(self, entry: Entry) -> bool:
        """Say whether *entry* fits; one that is too large for any batch has one of its own."""
        return not self.entries or self.size + len(entry.key) + len(entry.value) <= _BATCH_SIZE

    def add(self, entry: Entry) -> None:
        """Let *entry* share the batch's fate."""
        self.entries.append(entry)
        self.count += 1
        self.size += len(entry.key) + len(entry.value)

    def settle(self, *, kept: bool) -> None:
        """Tell whoever waits; what was told first holds."""
        if not self.kept.done():
            self.kept.set_result(kept)


class Writer:
    """Sends every tick one batch a partition, and has one in flight; what comes meanwhile waits for the next."""

    def __init__(self, topic: str, partitions: int, clock: Clock) -> None:
        self._topic = topic
        self._clock = clock
        self._waiting: list[deque[Batch]] = [deque() for _ in range(partitions)]
        self._sending: dict[int, Batch] = {}
        self._failure: BaseException | None = None
        self._wake = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return not self._sending and not any(self._waiting)

    def add(self, entry: Entry) -> Batch:
        """Write *entry* with the next tick; return the batch that it travels in."""
        partition = self._partition_of(entry)
        waiting = self._waiting[partition]
        if not waiting or waiting[-1].is_spooled or not waiting[-1].has_room_for(entry):
            waiting.append(Batch(partition, self._clock.monotonic()))
        batch = waiting[-1]
        batch.add(entry)
        self._wake.set()
        return batch

    def add_spooled(self, entries: Iterable[Entry]) -> list[Batch]:
        """Write *entries*, which are on disk; return their batches, not *kept* when Kafka refuses them."""
        last: dict[int, Batch] = {}
        batches = []
        for entry in entries:
            partition = self._partition_of(entry)
            batch = last.get(partition)
            if batch is None or not batch.has_room_for(entry):
                batch = last[partition] = Batch(partition, self._clock.monotonic(), is_spooled=True)
                batches.append(batch)
                self._waiting[partition].append(batch)
            batch.add(entry)
        self._wake.set()
        return batches

    def withdraw(self, batch: Batch) -> None:
        """Do not write *batch*, unless it is on its way."""
        if batch.state is State.WAITING:
            batch.state = State.WITHDRAWN
            self._waiting[batch.partition].remove(batch)

    async def run(self, connect: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        """Write what is added, for ever: with another producer of *connect*'s whenever one fails.

        Nothing that is wrong with Kafka ends this: callbacks are kept on disk meanwhile, and Twilio does not wait.
        """
        told = ""
        while True:
            try:
                async with connect() as producer:
                    told = ""
                    log.info("callbacks go to Kafka", topic=self._topic)
                    await self._write(producer)
            except (DispatcherError, KafkaError, OSError) as error:
                if (reason := str(error) or repr(error)) != told:
                    log.warning("callbacks do not get into Kafka; they are kept on disk", reason=reason)
                told = reason
            for batch in list(self._sending.values()):
                self._failed(batch)
            await self._clock.sleep(RETRY_AFTER)

    async def _write(self, producer: Any) -> None:
        """Write until Kafka refuses a batch, which is raised as it says it."""
        self._failure = None
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._failure is not None:
                raise self._failure
            for partition, waiting in enumerate(self._waiting):
                if waiting and partition not in self._sending:
                    await self._send(producer, waiting.popleft())
            await self._clock.sleep(TICK)

    async def _send(self, producer: Any, batch: Batch) -> None:
        builder = producer.create_batch()
        for key, value in batch.entries:
            if builder.append(timestamp=None, key=key, value=value) is None:
                raise AssertionError("a batch is smaller than what the producer holds")
        # Closed, it does not wait for more.
        builder.close()
        batch.state = State.SENDING
        batch.sent_at = self._clock.monotonic()
        self._sending[batch.partition] = batch
        try:
            written = await producer.send_batch(builder, self._topic, partition=batch.partition)
        except KafkaError as error:
            self._failure = error
            self._failed(batch)
        else:
            written.add_done_callback(partial(self._answered, batch))

    def _answered(self, batch: Batch, written: "asyncio.Future[Any]") -> None:
        error = KafkaError("the producer is closed") if written.cancelled() else written.exception()
        if self._sending.get(batch.partition) is not batch:
            return  # its producer was given up before
        if error is not None:
            self._failure = error
            self._failed(batch)
            return
        del self._sending[batch.partition]
        batch.state = State.WRITTEN
        batch.entries.clear()  # a copy on disk may outlive them
        batch.settle(kept=True)
        metrics.CALLBACK_KAFKA_SECONDS.observe(self._clock.monotonic() - batch.sent_at)
        if self._waiting[batch.partition]:
            self._wake.set()

    def _failed(self, batch: Batch) -> None:
        """Leave *batch* to the disk: it is there, or will be when its patience is over."""
        del self._sending[batch.partition]
        batch.state = State.FAILED
        if batch.is_spooled:
            batch.settle(kept=False)
        self._wake.set()

    def _partition_of(self, entry: Entry) -> int:
        """Return the partition where Kafka's own clients would look for *entry*."""
        return int(murmur2(entry.key) & 0x7FFFFFFF) % len(self._waiting)
