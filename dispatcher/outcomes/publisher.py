"""Writes what became of jobs to Kafka, in batches, and settles each job once its record is safe."""

import asyncio
from collections import deque
from functools import partial
from typing import Any

import structlog
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from dispatcher.clock import Clock
from dispatcher.domain.fence import Fence
from dispatcher.domain.message import Origin

log = structlog.get_logger()

# Records that come within a tick go out together, so that one costs little more than its bytes. Seconds.
TICK = 0.080
RETRY_AFTER = 1.0
# What is kept of a record that the topic is configured to be too small for.
KEPT_OF_TOO_LARGE = 64 * 1024


class Record:
    """A record to write, and the job that is settled by it.

    *timestamp* is in milliseconds of the epoch; None: when it is written. *headers* are a list because aiokafka's C
    extension takes nothing else.
    """

    __slots__ = ("headers", "key", "offset", "origin", "timestamp", "value")

    def __init__(
        self,
        key: bytes | None,
        value: bytes,
        headers: list[tuple[str, bytes]],
        origin: Origin,
        offset: int,
        timestamp: int | None = None,
    ) -> None:
        self.key = key
        self.value = value
        self.headers = headers
        self.origin = origin
        self.offset = offset
        self.timestamp = timestamp


class Publisher:
    """Collects records and writes them every tick, one batch a partition.

    A job's record goes to the partition with the index of the job's own, so that whoever owns the job owns its
    outcome. There is one batch in flight a partition; what comes meanwhile waits for the next. Nothing is written while
    the *fence* is closed, and nothing of a partition that has gone: another worker may have concluded the same jobs.
    """

    def __init__(self, producer: Any, clock: Clock, fence: Fence) -> None:
        self._producer = producer
        self._clock = clock
        self._fence = fence
        # The offset after the last acknowledged record, by topic and partition.
        self.ends: dict[tuple[str, int], int] = {}
        self._waiting: dict[tuple[str, int], deque[Record]] = {}
        self._in_flight: set[tuple[str, int]] = set()
        # How many records a batch may hold, where Kafka found one too large.
        self._most: dict[tuple[str, int], int] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, topic: str, record: Record) -> None:
        """Write *record* to *topic* with the next tick; its job is settled when Kafka has acknowledged it."""
        target = (topic, record.origin.partition)
        waiting = self._waiting.get(target)
        if waiting is None:
            waiting = self._waiting[target] = deque()
            # What is there already is on its way: the next tick looks for it, or the batch ahead of it once it is safe.
            self._idle.clear()
            self._wake.set()
        waiting.append(record)

    async def run(self) -> None:
        """Write what is added, for ever."""
        while True:
            await self._wake.wait()
            await self._clock.sleep(TICK)
            self._wake.clear()
            if not self._fence.is_open(self._clock.monotonic()):
                self._wake.set()
                continue
            for target in [target for target in self._waiting if target not in self._in_flight]:
                await self._send(target)

    def forget(self) -> None:
        """Drop what waits: its jobs are another worker's business now."""
        self._waiting.clear()
        self._see_if_idle()

    async def flushed(self) -> None:
        """Come back when everything that was added is safe."""
        await self._idle.wait()

    async def _send(self, target: tuple[str, int]) -> None:
        """Send as much as one batch holds of what waits for *target*, if it has not been forgotten meanwhile."""
        waiting = self._waiting.get(target)
        if waiting is None:
            return
        batch = self._producer.create_batch()
        sent: list[Record] = []
        most = self._most.get(target, len(waiting))
        while waiting and len(sent) < most:
            record = waiting.popleft()
            if not record.origin.is_owned:
                continue
            stamp, headers = record.timestamp, record.headers
            if batch.append(timestamp=stamp, key=record.key, value=record.value, headers=headers) is None:
                waiting.appendleft(record)
                break
            sent.append(record)
        if not waiting:
            del self._waiting[target]
        if not sent:
            self._see_if_idle()
            return
        batch.close()  # closed, it does not wait for more
        self._in_flight.add(target)
        topic, partition = target
        try:
            written = await self._producer.send_batch(batch, topic, partition=partition)
        except KafkaError as error:
            self._failed(target, sent, error)
        else:
            written.add_done_callback(partial(self._written, target, sent))

    def _written(self, target: tuple[str, int], sent: list[Record], written: "asyncio.Future[Any]") -> None:
        if written.cancelled():
            return  # the producer is closed; what was not acknowledged stays unsettled
        error = written.exception()
        if error is not None:
            self._failed(target, sent, error)
            return
        self._in_flight.discard(target)
        self.ends[target] = written.result().offset + len(sent)
        for record in sent:
            record.origin.settle(record.offset)
        self._see_if_idle()

    def _failed(self, target: tuple[str, int], sent: list[Record], error: BaseException) -> None:
        """Put *sent* back in front: Kafka is retried until it takes it, since a job without an outcome is lost."""
        topic, partition = target
        log.warning("Kafka did not take outcomes; trying again", topic=topic, partition=partition, error=repr(error))
        if isinstance(error, MessageSizeTooLargeError):
            if len(sent) == 1:
                sent = [_shortened(sent[0])]
            self._most[target] = max(1, len(sent) // 2)
        if owned := [record for record in sent if record.origin.is_owned]:
            self._waiting.setdefault(target, deque()).extendleft(reversed(owned))
        asyncio.get_running_loop().call_later(RETRY_AFTER, self._retry, target)

    def _retry(self, target: tuple[str, int]) -> None:
        self._in_flight.discard(target)
        self._see_if_idle()

    def _see_if_idle(self) -> None:
        if self._waiting:
            self._wake.set()
        elif not self._in_flight:
            self._idle.set()


def _shortened(record: Record) -> Record:
    """Return *record* with what its topic can hold of its key and value, and a header that says what it was."""
    key, value = record.key, record.value
    if len(value) <= KEPT_OF_TOO_LARGE and len(key or b"") <= KEPT_OF_TOO_LARGE:
        return record
    headers = [*record.headers, ("truncated-from-bytes", str(len(value)).encode())]
    key = None if key is None else key[:KEPT_OF_TOO_LARGE]
    return Record(key, value[:KEPT_OF_TOO_LARGE], headers, record.origin, record.offset, record.timestamp)
