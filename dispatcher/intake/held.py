"""What was read of the topics of parked jobs and has not been there for as long as its topic says."""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition

# A partition whose next record is to be handed on so much later rests: that frees what was fetched of it. Seconds.
REST_FROM = 60.0


class Held:
    """Keeps what was read last of each partition until it is old enough: *stays* says how old, by topic, in seconds.

    Nothing more is to be read of a partition while something of it is kept.
    """

    def __init__(self, stays: Mapping[str, float]) -> None:
        self.topics: Collection[str] = stays.keys()
        self._stays = stays
        self._records: dict[TopicPartition, deque[Any]] = {}
        self._resting: set[TopicPartition] = set()

    def __bool__(self) -> bool:
        return bool(self._records)

    def __contains__(self, partition: TopicPartition) -> bool:
        return partition in self._records

    def keep(self, consumer: Any, partition: TopicPartition, records: Sequence[Any], now: float) -> None:
        """Keep *records*, which *consumer* read of *partition*; *now* is in seconds of the epoch."""
        self._records[partition] = deque(records)
        if self._ready_at(records[0]) - now > REST_FROM:
            consumer.pause(partition)
            self._resting.add(partition)

    def ready(
        self, consumer: Any, most: int, now: float, has_room: Callable[[TopicPartition, int], bool]
    ) -> Iterator[tuple[TopicPartition, list[Any]]]:
        """Take out what is old enough, by partition, *most* records in all.

        *has_room* is asked whether so many of a partition and one more may be taken. Of what is empty then *consumer*
        reads on.
        """
        for partition, records in list(self._records.items()):
            taken: list[Any] = []
            while (
                records and len(taken) < most and self._ready_at(records[0]) <= now and has_room(partition, len(taken))
            ):
                taken.append(records.popleft())
            if taken:
                most -= len(taken)
                yield partition, taken
            if not records:
                del self._records[partition]
                if partition in self._resting:
                    self._resting.discard(partition)
                    consumer.resume(partition)

    def clear(self) -> None:
        """Forget it all: whoever owns the partitions reads it again."""
        self._records.clear()
        self._resting.clear()

    def _ready_at(self, record: Any) -> float:
        """Return when *record* has been in its topic for long enough, in seconds of the epoch."""
        return float(record.timestamp / 1000 + self._stays[record.topic])
