"""Writes records to Kafka by batches, and comes back when all are acknowledged."""

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka.partitioner import murmur2


class Entry(NamedTuple):
    """A record to be written."""

    key: bytes
    value: bytes


async def write(producer: Any, topic: str, partitions: int, entries: Iterable[Entry]) -> None:
    """Append *entries* to *topic*, each where Kafka's own clients would look for its key, and in their order.

    Raises aiokafka's `KafkaError` when one is not acknowledged.
    """
    waiting: dict[int, list[Entry]] = {}
    for entry in entries:
        waiting.setdefault(int(murmur2(entry.key) & 0x7FFFFFFF) % partitions, []).append(entry)
    written: list[asyncio.Future[Any]] = []
    for partition, found in waiting.items():
        batch = producer.create_batch()
        for key, value in found:
            if batch.append(timestamp=None, key=key, value=value) is None:
                written.append(await _send(producer, topic, partition, batch))
                batch = producer.create_batch()
                batch.append(timestamp=None, key=key, value=value)
        written.append(await _send(producer, topic, partition, batch))
    for acknowledged in written:
        await acknowledged


async def _send(producer: Any, topic: str, partition: int, batch: Any) -> "asyncio.Future[Any]":
    # Closed, it does not wait for more.
    batch.close()
    written: asyncio.Future[Any] = await producer.send_batch(batch, topic, partition=partition)
    return written
