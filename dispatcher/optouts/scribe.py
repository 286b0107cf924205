"""Reads what recipients and Twilio say, and keeps the suppressions topic: read < written and acknowledged < committed.

Its place is a consumer group's, not that of tracking's view: a view that is built anew reads the past again, and a
STOP of old would undo what has been decided since. After a crash the latest few are read again; each recipient's in
order, so that they end as they were.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from dispatcher.clock import Clock
from dispatcher.domain.errors import KafkaUnavailableError
from dispatcher.optouts.decide import Decider, Entry, read_callback, read_result
from dispatcher.telemetry import metrics

log = structlog.get_logger()

BATCH = 4000
RETRY_AFTER = 1.0
_FETCH_MS = 500
# aiokafka's commit has no time-out of its own.
_COMMIT_TIMEOUT = 10.0


class Scribe:
    """Lets *decider* look at every callback and result, and writes to *topic* what it says."""

    def __init__(self, decider: Decider, clock: Clock, *, callbacks: str, results: str, topic: str) -> None:
        self._decider = decider
        self._clock = clock
        self._callbacks = callbacks
        self._results = results
        self._topic = topic

    async def run(
        self, connect: Callable[[], AbstractAsyncContextManager[tuple[Any, Any]]], stop: asyncio.Event
    ) -> None:
        """Write until *stop* is set, by a consumer of a group and a producer of *connect*'s, others when they fail."""
        told = ""
        while not stop.is_set():
            try:
                async with connect() as (consumer, producer):
                    consumer.subscribe([self._callbacks, self._results])
                    while not stop.is_set():
                        found = await consumer.getmany(timeout_ms=_FETCH_MS, max_records=BATCH)
                        if found:
                            await self._write(producer, self._entries(found))
                            await _commit(consumer, found)
                            told = ""
            except (KafkaUnavailableError, KafkaError, TimeoutError, OSError) as error:
                if (reason := str(error) or repr(error)) != told:
                    log.warning("opt-outs cannot be followed; trying again", reason=reason)
                told = reason
                await self._clock.sleep(RETRY_AFTER)

    def _entries(self, found: Mapping[TopicPartition, Sequence[Any]]) -> list[Entry]:
        entries: list[Entry] = []
        # Results first: an opt-out that Twilio knew of is older than a START that was heard with it.
        for partition in sorted(found, key=lambda partition: partition.topic != self._results):
            for record in found[partition]:
                entries += self._entries_of(record)
        return entries

    def _entries_of(self, record: Any) -> list[Entry]:
        try:
            if record.topic == self._results:
                return self._decider.conclude(read_result(record.value or b""))
            return self._heard(record.value or b"")
        except ValueError as error:
            log.warning(
                "a record cannot be read; it is passed over",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                error=str(error),
            )
            return []

    def _heard(self, value: bytes) -> list[Entry]:
        heard = read_callback(value)
        entries = self._decider.hear(heard)
        if entries and heard.word is not None:
            metrics.OPT_OUTS.labels(heard.word).inc()
        return entries

    async def _write(self, producer: Any, entries: Sequence[Entry]) -> None:
        written = [await producer.send(self._topic, key=key, value=value) for key, value in entries]
        for acknowledged in written:
            await acknowledged


async def _commit(consumer: Any, found: Mapping[TopicPartition, Sequence[Any]]) -> None:
    async with asyncio.timeout(_COMMIT_TIMEOUT):
        await consumer.commit({partition: records[-1].offset + 1 for partition, records in found.items()})
