"""What was read of the topics of parked jobs and has not been there for as long as its topic says."""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from math import inf
from typing import Any

from aiokafka import TopicPartition

# A partition whose next record is to be handed on so much later rests: that frees what was fetched of it. Seconds.
REST_FROM = 60.0
# Whether anything is parked is looked at now and then: a fetch costs by how many partitions it asks for, and there are
# many tiers. All records stay for longer than a rest. Seconds.
LOOK = 0.3
REST = 1.0


class Held:
    """Keeps what was read last of each partition until it is old enough: *stays* says how old, by topic, in seconds.

    Nothing more is to be read of a partition while something of it is kept, nor, between two looks, of those that had
    nothing at the last one: they are *idle*. What is called back is old enough at once.
    """

    def __init__(self, stays: Mapping[str, float]) -> None:
        self.topics: Collection[str] = stays.keys()
        self._stays = stays
        self._called_back = dict.fromkeys(stays, -inf)
        self._records: dict[TopicPartition, deque[Any]] = {}
        self._resting: set[TopicPartition] = set()
        self.idle: AbstractSet[TopicPartition] = frozenset()
        self._read: set[TopicPartition] = set()
        self._is_looking = True
        self._turns_at = 0.0

    def __bool__(self) -> bool:
        return bool(self._records)

    def __contains__(self, partition: TopicPartition) -> bool:
        return partition in self._records or partition in self.idle

    def call_back(self, tiers: Collection[str], before: float) -> None:
        """Let what was parked in *tiers* before then, in seconds of the epoch, be old enough."""
        for topic, called_back in self._called_back.items():
            if topic.rpartition(".")[2] in tiers:
                self._called_back[topic] = max(before, called_back)

    def turn(self, partitions: Iterable[TopicPartition], now: float) -> None:
        """Begin or end a look at *partitions*, when it is time; *now* is in seconds of the epoch."""
        # The wall clock may have been put back.
        if self._turns_at - max(LOOK, REST) < now < self._turns_at:
            return
        if self._is_looking:
            of_tiers = {partition for partition in partitions if partition.topic in self.topics}
            self.idle = of_tiers - self._read - self._records.keys()
        else:
            self.idle = frozenset()
        self._read.clear()
        self._is_looking = not self._is_looking
        self._turns_at = now + (LOOK if self._is_looking else REST)

    def keep(self, consumer: Any, partition: TopicPartition, records: Sequence[Any], now: float) -> None:
        """Keep *records*, which *consumer* read of *partition*; *now* is in seconds of the epoch."""
        self._records[partition] = deque(records)
        self._read.add(partition)
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
        """Forget it all: whoever owns the partitions reads it again, and rests none."""
        for known in (self._records, self._resting, self._read):
            known.clear()
        self.idle = frozenset()
        self._is_looking, self._turns_at = True, 0.0

    def _ready_at(self, record: Any) -> float:
        """Return when *record* has been in its topic for long enough, in seconds of the epoch."""
        parked_at = float(record.timestamp / 1000)
        return parked_at if parked_at <= self._called_back[record.topic] else parked_at + self._stays[record.topic]
