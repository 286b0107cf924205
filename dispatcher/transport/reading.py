"""Reads a topic through, from its beginning to where it ends now, a partition after the other."""

from collections.abc import AsyncIterator
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from dispatcher.domain.errors import KafkaUnavailableError


async def read_through(consumer: Any, topic: str, partitions: int, *, first: int = 0) -> AsyncIterator[Any]:
    """Yield every record of *topic* with a *consumer* of no group, from the partition *first* on, a few at a time.

    `KafkaUnavailableError` when Kafka does not give them.
    """
    try:
        for number in range(first, partitions):
            partition = TopicPartition(topic, number)
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            end = (await consumer.end_offsets([partition]))[partition]
            while await consumer.position(partition) < end:
                found = await consumer.getmany(partition, timeout_ms=1000)
                for record in found.get(partition, ()):
                    if record.offset < end:
                        yield record
    except KafkaError as error:
        raise KafkaUnavailableError(f"Kafka does not show {topic} ({type(error).__name__}); try again") from error
