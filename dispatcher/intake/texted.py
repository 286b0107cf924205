"""Reads who was texted lately out of the results of partitions, when these come to this worker."""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

import msgspec
import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from dispatcher.clock import Clock
from dispatcher.domain.outcome import Status

log = structlog.get_logger()

RETRY_AFTER = 1.0
# Records taken at once: a few milliseconds of work.
BATCH = 2000


class _Result(msgspec.Struct, gc=False):
    """What is read of a result."""

    to: str
    campaign: str
    status: Status
    at: str


_decode = msgspec.json.Decoder(_Result).decode


class Texted:
    """Tells *remember* whom which campaign texted when (seconds of the epoch), with a *consumer* of no group.

    It reads results that are at most *memory* seconds old, as they come: they take no memory here.
    """

    def __init__(
        self, consumer: Any, results: str, clock: Clock, *, memory: float, remember: Callable[[str, str, float], None]
    ) -> None:
        self._consumer = consumer
        self._results = results
        self._clock = clock
        self._memory = memory
        self._remember = remember

    async def read(self, indices: Collection[int]) -> None:
        """Read what was sent of the partitions *indices* up to now."""
        consumer = self._consumer
        partitions = [TopicPartition(self._results, index) for index in indices]
        consumer.assign(partitions)
        since = int((self._clock.epoch() - self._memory) * 1000)
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, since))
        ends = await consumer.end_offsets(partitions)
        unread = set()
        for partition in partitions:
            if (at := found.get(partition)) is not None:
                consumer.seek(partition, at.offset)
                unread.add(partition)
        while unread:
            try:
                records = await consumer.getmany(*unread, timeout_ms=1000, max_records=BATCH)
            except KafkaError as error:
                log.warning("the results cannot be read; trying again", error=repr(error))
                await self._clock.sleep(RETRY_AFTER)
                continue
            for of_partition in records.values():
                self._take(of_partition)
            await self._clock.sleep(0)
            unread = {partition for partition in unread if await consumer.position(partition) < ends[partition]}
        consumer.unsubscribe()

    def _take(self, records: list[Any]) -> None:
        for record in records:
            try:
                result = _decode(record.value)
            except msgspec.MsgspecError:
                continue  # a stranger's; whoever reads the results for what is settled says so
            if result.status in {"accepted", "unknown"}:
                self._remember(result.to, result.campaign, datetime.fromisoformat(result.at).timestamp())
