"""Follows the callbacks and the results: into the view, out to the deliveries topic, and then it counts as read.

    read < applied (not committed) < deliveries acknowledged < committed < learned

A crash before the commit undoes the batch, which is read again; its deliveries are then written a second time, the same
to the byte. One tracker follows all partitions, from where its view says: no group of Kafka's is needed for that.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, ParamSpec, TypeVar

import msgspec
import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from dispatcher.clock import Clock
from dispatcher.domain.delivery import Delivery
from dispatcher.domain.errors import DispatcherError, KafkaUnavailableError
from dispatcher.domain.topics import Topics
from dispatcher.telemetry import metrics
from dispatcher.tracking.insight import Insight
from dispatcher.tracking.lifecycle import Conclusion, News
from dispatcher.tracking.records import read_callback, read_result
from dispatcher.tracking.view import Change, Position, Told, View
from dispatcher.tracking.writing import Entry, write

log = structlog.get_logger()

# Records that are taken in at once: more would make an answer wait, fewer would commit too often.
BATCH = 4000
BEAT = 1.0
RETRY_AFTER = 1.0
_FETCH_MS = 200

_P = ParamSpec("_P")
_R = TypeVar("_R")
_encode = msgspec.json.Encoder().encode


class Outgoing(NamedTuple):
    """A record for a topic of so many partitions."""

    topic: str
    partitions: int
    entry: Entry


class ViewThread:
    """The one thread in which the view is used; calls wait for each other."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="view")

    async def do(self, call: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Call *call* there, and return what it does."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: call(*args, **kwargs))

    def close(self) -> None:
        """Wait for what is under way, and end."""
        self._pool.shutdown()


class Follower:
    """Keeps *view* up to date and lets *insight* learn from it; *beat* is asked once a second what else is to be told.

    `post` hands it records that others want written. Whether it *keeps_jobs* decides if deliveries say where each
    message's job stands.
    """

    def __init__(
        self,
        view: View,
        thread: ViewThread,
        insight: Insight,
        topics: Topics,
        partitions: int,
        clock: Clock,
        beat: Callable[[float], Iterable[Outgoing]],
        *,
        keeps_jobs: bool = False,
    ) -> None:
        self._read_result = partial(read_result, keeps_job=keeps_jobs)
        self._view = view
        self._thread = thread
        self._insight = insight
        self._topics = topics
        self._partitions = partitions
        self._clock = clock
        self._beat = beat
        self._beaten_at = clock.monotonic()
        self._outbox: list[Outgoing] = []
        self._next: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        # The partitions that have not been read yet up to where they ended when this began.
        self._behind: dict[TopicPartition, int] = {}

    @property
    def lag(self) -> dict[str, int]:
        """The records that are not read yet, by topic; empty while nobody knows."""
        lag: dict[str, int] = {}
        for partition, end in self._ends.items():
            lag[partition.topic] = lag.get(partition.topic, 0) + max(0, end - self._next[partition])
        return lag

    @property
    def is_current(self) -> bool:
        """Whether what happened while nobody tracked is known, and of all else no more is unread than is at once."""
        return bool(self._ends) and not self._behind and sum(self.lag.values()) < BATCH

    def post(self, outgoing: Outgoing) -> None:
        """Write *outgoing* soon, and again until Kafka has it."""
        self._outbox.append(outgoing)

    async def run(
        self, connect: Callable[[], AbstractAsyncContextManager[tuple[Any, Any]]], stop: asyncio.Event
    ) -> None:
        """Follow until *stop* is set, by a consumer and a producer of *connect*'s, others whenever they fail."""
        told = ""
        while not stop.is_set():
            try:
                async with connect() as (consumer, producer):
                    await self._begin(consumer)
                    told = ""
                    while not stop.is_set():
                        await self._read(consumer, producer)
                        await self._write_others(producer)
            except (KafkaUnavailableError, KafkaError, OSError) as error:
                await self._thread.do(self._view.undo)
                self._ends.clear()
                if (reason := str(error) or repr(error)) != told:
                    log.warning("Kafka cannot be followed; trying again", reason=reason)
                told = reason
                await self._clock.sleep(RETRY_AFTER)

    async def _begin(self, consumer: Any) -> None:
        """Go to where the view ends."""
        partitions = [
            TopicPartition(topic, number)
            for topic in (self._topics.callbacks, self._topics.results)
            for number in range(self._partitions)
        ]
        consumer.assign(partitions)
        starts, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        known = await self._thread.do(self._view.positions)
        lost = 0
        for partition in partitions:
            position = known.get((partition.topic, partition.partition), 0)
            if position > ends[partition]:
                raise DispatcherError(
                    f"the topic {partition.topic} ends before what the view has read of it, so it is another topic; "
                    "delete the file tracking.database names, and the view is built anew"
                )
            if known:
                lost += max(0, starts[partition] - position)
            self._next[partition] = max(position, starts[partition])
            consumer.seek(partition, self._next[partition])
        if lost:
            log.warning("Kafka has dropped records that the view has not read", records=lost)
        self._ends = dict(ends)
        self._behind = {one: end for one, end in self._ends.items() if self._next[one] < end}
        log.info("following", unread=sum(self.lag.values()))

    async def _read(self, consumer: Any, producer: Any) -> None:
        """Take one batch in."""
        found: Mapping[TopicPartition, Sequence[Any]] = await consumer.getmany(timeout_ms=_FETCH_MS, max_records=BATCH)
        if not found:
            return
        told, entries = await self._thread.do(self._take_in, found)
        await write(producer, self._topics.deliveries, self._partitions, entries)
        positions = {partition: records[-1].offset + 1 for partition, records in found.items()}
        await self._thread.do(self._view.commit, {_position(one): offset for one, offset in positions.items()})
        self._next |= positions
        for partition in found:
            self._ends[partition] = max(self._ends[partition], consumer.highwater(partition) or 0)
        self._behind = {one: end for one, end in self._behind.items() if self._next[one] < end}
        self._insight.learn(told)

    def _take_in(self, found: Mapping[TopicPartition, Sequence[Any]]) -> tuple[Told, list[Entry]]:
        """Apply what was *found* to the view; return what that told, and what is to be told on."""
        # Results first: what they tell is needed to tell of callbacks.
        topics = sorted(found, key=lambda partition: partition.topic != self._topics.results)
        events = [event for partition in topics for record in found[partition] if (event := self._event(record))]
        told = self._view.apply(events)
        return told, [Entry(change.id.encode(), _encode(_delivery(change))) for change in told.changes]

    def _event(self, record: Any) -> News | Conclusion | None:
        read: Callable[[bytes], News | Conclusion | None]
        read = self._read_result if record.topic == self._topics.results else read_callback
        try:
            return read(record.value or b"")
        except ValueError as error:
            metrics.CALLBACKS_READ.labels("unreadable").inc()
            log.warning(
                "a record cannot be read; it is passed over",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                error=str(error),
            )
            return None

    async def _write_others(self, producer: Any) -> None:
        now = self._clock.monotonic()
        if now - self._beaten_at >= BEAT:
            self._beaten_at = now
            self._outbox += self._beat(self._clock.epoch())
        by_topic: dict[tuple[str, int], list[Entry]] = {}
        taken = len(self._outbox)
        for topic, partitions, entry in self._outbox:
            by_topic.setdefault((topic, partitions), []).append(entry)
        for (topic, partitions), entries in by_topic.items():
            await write(producer, topic, partitions, entries)
        del self._outbox[:taken]


def _position(partition: TopicPartition) -> Position:
    return partition.topic, partition.partition


def _delivery(change: Change) -> Delivery:
    return Delivery(
        id=change.id,
        campaign=change.campaign,
        to=change.to,
        sender=change.sender,
        account=change.account,
        carrier=change.carrier,
        sid=change.sid,
        status=change.status,
        before=change.before,
        code=change.code,
        segments=change.segments,
        at=datetime.fromtimestamp(change.at, UTC).isoformat(timespec="milliseconds"),
        by=change.by,
        job=change.job or msgspec.UNSET,
    )
