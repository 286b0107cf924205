"""Writes into the topic of caps what this worker claims, and reads what all did, in the one order that counts."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec
import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from dispatcher.clock import Clock
from dispatcher.domain.claims import CapRecord, Takeover, decode, encode

log = structlog.get_logger()

# Claims that come within a tick go out together. Seconds.
TICK = 0.010
RETRY_AFTER = 1.0


class CapLog:
    """Tells *heard* each record with its offset, and *after_batch* when some were told; *claims* gives what to write.

    *consumer* is of no group. Nothing is written before `follow` runs beside `run`.
    """

    def __init__(
        self,
        consumer: Any,
        producer: Any,
        topic: str,
        clock: Clock,
        *,
        heard: Callable[[int, CapRecord], None],
        after_batch: Callable[[], None],
        claims: Callable[[], Sequence[CapRecord]],
    ) -> None:
        self._consumer = consumer
        self._producer = producer
        self._partition = TopicPartition(topic, 0)
        self._clock = clock
        self._heard = heard
        self._after_batch = after_batch
        self._claims = claims
        self._wake = asyncio.Event()
        self._has_read = asyncio.Condition()
        self._read_to = 0

    def wake(self) -> None:
        """There may be something to write."""
        self._wake.set()

    async def begin(self) -> None:
        """Read all there is."""
        consumer, partition = self._consumer, self._partition
        end = (await consumer.end_offsets([partition]))[partition]  # before it fetches, which this would wait for
        consumer.assign([partition])
        while await consumer.position(partition) < end:
            await self._read()

    async def follow(self) -> None:
        """Read what comes, for ever."""
        while True:
            try:
                await self._read()
            except KafkaError as error:
                log.warning("the topic of caps cannot be read; trying again", error=repr(error))
                await self._clock.sleep(RETRY_AFTER)

    async def run(self) -> None:
        """Write what is claimed, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if records := self._claims():
                await self._append(records)
            await self._clock.sleep(TICK)

    async def take_over(self, owner: str, indices: Collection[int]) -> int:
        """Let *owner* speak for *indices* from now on; return the epoch, when all that came before has been heard."""
        epoch = await self._append([Takeover(owner=owner, indices=tuple(sorted(indices)))])
        async with self._has_read:
            await self._has_read.wait_for(lambda: self._read_to > epoch)
        return epoch

    async def _append(self, records: Sequence[CapRecord]) -> int:
        """Write *records*, however often it takes: a claim that stands there twice counts once. Return the offset."""
        while True:
            batch = self._producer.create_batch()
            for record in records:
                batch.append(timestamp=None, key=None, value=encode(record))
            try:
                written = await self._producer.send_batch(batch, self._partition.topic, partition=0)
                return int((await written).offset)
            except KafkaError as error:
                log.warning("Kafka did not take what was claimed of caps; trying again", error=repr(error))
                await self._clock.sleep(RETRY_AFTER)

    async def _read(self) -> None:
        found = (await self._consumer.getmany(timeout_ms=1000)).get(self._partition, ())
        for record in found:
            try:
                self._heard(record.offset, decode.decode(record.value or b""))
            except msgspec.MsgspecError as error:
                log.warning("a record of the topic of caps cannot be read; it is passed over", error=str(error))
        if not found:
            return
        async with self._has_read:
            self._read_to = found[-1].offset + 1
            self._has_read.notify_all()
        self._after_batch()
