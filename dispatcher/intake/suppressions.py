"""Follows the suppressions topic: who must not be texted, as of now."""

from collections.abc import Callable
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from dispatcher.clock import Clock
from dispatcher.domain.suppression import SuppressionScope, read_suppression_key
from dispatcher.telemetry import metrics

log = structlog.get_logger()

RETRY_AFTER = 1.0
# Records taken at once: a few milliseconds of work.
BATCH = 1000

Tell = Callable[[str, SuppressionScope], None]


class SuppressionReader:
    """Tells *suppress* and *lift* what is in *topic*, each a number and a scope. *consumer* is of no group."""

    def __init__(self, consumer: Any, topic: str, partitions: int, clock: Clock, *, suppress: Tell, lift: Tell) -> None:
        self._consumer = consumer
        self._partitions = [TopicPartition(topic, number) for number in range(partitions)]
        self._clock = clock
        self._suppress = suppress
        self._lift = lift

    async def catch_up(self) -> None:
        """Read all there is, so that nobody who opted out is texted because the worker has just started."""
        consumer = self._consumer
        ends = await consumer.end_offsets(self._partitions)  # before it fetches, which this would wait for
        consumer.assign(self._partitions)
        unread = {partition for partition in self._partitions if ends[partition]}
        while unread:
            await self._read()
            unread = {partition for partition in unread if await consumer.position(partition) < ends[partition]}

    async def follow(self) -> None:
        """Read what comes, for ever."""
        while True:
            try:
                await self._read()
            except KafkaError as error:
                log.warning("the suppressions cannot be read; trying again", error=repr(error))
                await self._clock.sleep(RETRY_AFTER)

    async def _read(self) -> None:
        found = await self._consumer.getmany(timeout_ms=1000, max_records=BATCH)
        for records in found.values():
            for record in records:
                self._obey(record.key or b"", record.value)
            metrics.SUPPRESSIONS.inc(len(records))
        # With records at hand `getmany` never suspends: let the others on the loop have their turn.
        await self._clock.sleep(0)

    def _obey(self, key: bytes, value: bytes | None) -> None:
        read = read_suppression_key(key)
        if read is None:
            log.warning("a suppression names no number; it is passed over")
        elif value is None:
            self._lift(*read)
        else:
            self._suppress(*read)
