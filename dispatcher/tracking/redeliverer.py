"""Sends again what was not delivered, where its pool says so: read < jobs looked up < published < committed.

Its place is a consumer group's, as that of opt-outs: a view that is built anew tells every old delivery again. After a
crash the latest few are read again, and published with the same ids, which workers send once.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from dispatcher.clock import Clock
from dispatcher.domain.errors import KafkaUnavailableError
from dispatcher.domain.fleet import Pool
from dispatcher.domain.job import Job
from dispatcher.domain.outcome import Position
from dispatcher.telemetry import metrics
from dispatcher.tracking.second import NoSecond, second_of

log = structlog.get_logger()

BATCH: Final = 1000
RETRY_AFTER: Final = 1.0
_FETCH_MS = 500
_ANSWER_TIMEOUT = 10.0
_LOOK_UP_MS = 1000
_ENDED = frozenset({"undelivered", "failed"})


class _Delivery(msgspec.Struct, gc=False):
    """What is read of a delivery (`dispatcher.domain.delivery`)."""

    status: str
    at: datetime
    code: int | None = None
    job: str | None = None


class Clients(NamedTuple):
    """A consumer of the group, another of none, and a producer."""

    consumer: Any
    reader: Any
    producer: Any


_delivery = msgspec.json.Decoder(_Delivery)
_job = msgspec.json.Decoder(Job)
_encode = msgspec.json.Encoder().encode


class Redeliverer:
    """Follows the *deliveries* topic, and publishes what *pools* send again beside the jobs that it follows.

    *horizon* is for how many seconds workers remember an id.
    """

    def __init__(self, pools: Mapping[str, Pool], clock: Clock, *, deliveries: str, horizon: float) -> None:
        self._pools = pools
        self._clock = clock
        self._deliveries = deliveries
        self._late = horizon / 2
        policies = (pool.retry_undelivered for pool in pools.values())
        self._codes = frozenset(code for policy in policies if policy is not None for code in policy.codes)

    async def run(self, connect: Callable[[], AbstractAsyncContextManager[Clients]], stop: asyncio.Event) -> None:
        """Follow until *stop* is set, by clients of *connect*'s, others whenever they fail."""
        told = ""
        while not stop.is_set():
            try:
                async with connect() as clients:
                    clients.consumer.subscribe([self._deliveries])
                    while not stop.is_set():
                        found = await clients.consumer.getmany(timeout_ms=_FETCH_MS, max_records=BATCH)
                        if found:
                            await self._take_in(clients, found)
                            told = ""
            except (KafkaUnavailableError, KafkaError, TimeoutError, OSError) as error:
                if (reason := str(error) or repr(error)) != told:
                    log.warning("undelivered messages cannot be followed; trying again", reason=reason)
                told = reason
                await self._clock.sleep(RETRY_AFTER)

    async def _take_in(self, clients: Clients, found: Mapping[TopicPartition, Sequence[Any]]) -> None:
        ended: dict[Position, _Delivery] = {}
        for record in (record for records in found.values() for record in records):
            if (delivery := self._undelivered(record.value)) is not None:
                ended[Position.parse(delivery.job or "")] = delivery
        written = []
        for place, value in (await _look_up(clients.reader, ended)).items():
            if (job := self._second(value, ended[place])) is not None:
                # Where its recipient's messages are.
                written.append(
                    await clients.producer.send(
                        place.topic, key=job.to.encode(), value=_encode(job), partition=place.partition
                    )
                )
        async with asyncio.timeout(_ANSWER_TIMEOUT):
            for acknowledged in written:
                await acknowledged
            await clients.consumer.commit({partition: records[-1].offset + 1 for partition, records in found.items()})

    def _undelivered(self, value: bytes | None) -> _Delivery | None:
        """Return the delivery in *value* if it is of a message that may go again."""
        try:
            delivery = _delivery.decode(value or b"")
        except msgspec.MsgspecError as error:
            log.warning("a delivery cannot be read; it is passed over", error=str(error))
            return None
        if delivery.status in _ENDED and delivery.code in self._codes and delivery.job is not None:
            return delivery
        return None

    def _second(self, value: bytes | None, delivery: _Delivery) -> Job | None:
        try:
            job = _job.decode(value or b"")
        except msgspec.MsgspecError:
            metrics.REDELIVERIES.labels("gone").inc()
            return None
        pool = self._pools.get(job.pool)
        policy = pool.retry_undelivered if pool is not None else None
        if policy is None or delivery.code not in policy.codes:
            return None
        second = second_of(job, delivery.at, policy, self._clock.now(), self._late)
        if isinstance(second, NoSecond):
            metrics.REDELIVERIES.labels(second.name.lower()).inc()
            return None
        metrics.REDELIVERIES.labels("again").inc()
        log.info("an undelivered message goes again", id=job.id, code=delivery.code, as_=second.id)
        return second


async def _look_up(reader: Any, places: Iterable[Position]) -> dict[Position, bytes | None]:
    """Return the values of the records at *places*; None of those that Kafka has dropped. *reader* is of no group."""
    found: dict[Position, bytes | None] = {}
    by_partition: dict[TopicPartition, list[Position]] = {}
    for place in places:
        by_partition.setdefault(TopicPartition(place.topic, place.partition), []).append(place)
    for partition, wanted in by_partition.items():
        reader.assign([partition])
        begins = (await reader.beginning_offsets([partition]))[partition]
        ends = (await reader.end_offsets([partition]))[partition]
        for place in sorted(wanted, key=lambda place: place.offset):
            found[place] = None
            if begins <= place.offset < ends:
                found[place] = await _value_at(reader, partition, place.offset)
    return found


async def _value_at(reader: Any, partition: TopicPartition, offset: int) -> bytes | None:
    reader.seek(partition, offset)
    async with asyncio.timeout(_ANSWER_TIMEOUT):
        while True:
            records = (await reader.getmany(partition, timeout_ms=_LOOK_UP_MS, max_records=1)).get(partition)
            if records:
                return records[0].value if records[0].offset == offset else None
