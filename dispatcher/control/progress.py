"""How far a campaign is: counted from the results, which are the truth about it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any

import msgspec

from dispatcher.clock import Clock
from dispatcher.domain.errors import KafkaUnavailableError
from dispatcher.domain.outcome import Status
from dispatcher.transport.kafka import TopicPartition

# What the rate is measured over. Seconds.
RECENTLY = 60.0
_POLL_MS = 500
_STALL = 60.0


class _Result(msgspec.Struct, gc=False):
    """What counts of a result here."""

    campaign: str
    status: Status
    segments: int = 0
    code: int | None = None


Offsets = dict[TopicPartition, int]
_decode = msgspec.json.Decoder(_Result).decode


@dataclass(slots=True)
class Progress:
    """The results of one campaign: how many by status and by Twilio's code, and the segments that Twilio accepted.

    *recent* are those of the last `RECENTLY` seconds, the first of them *recent_since* (seconds of the epoch).
    """

    now: float
    statuses: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    segments: int = 0
    recent: int = 0
    recent_since: float = 0.0

    def add(self, status: Status, segments: int, code: int | None, at: float) -> None:
        """Count one result, which was written *at*."""
        self.statuses[status] += 1
        self.segments += segments
        if code is not None:
            self.codes[code] += 1
        if at > self.now - RECENTLY:
            self.recent += 1
            self.recent_since = min(at, self.recent_since or at)

    @property
    def done(self) -> int:
        """How many messages have a result."""
        return self.statuses.total()

    @property
    def rate(self) -> float:
        """Results a second, recently."""
        span = max(1.0, self.now - self.recent_since)
        return self.recent / span if self.recent else 0.0

    def seconds_left(self, recipients: int) -> float | None:
        """Return how long it takes on at this rate; None when nothing has happened recently, so nobody knows."""
        left = max(0, recipients - self.done)
        if not left:
            return 0.0
        return left / self.rate if self.recent else None


async def count_results(
    consumer: Any,
    clock: Clock,
    *,
    topic: str,
    partitions: int,
    campaign: str,
    since: datetime | None,
    progress: Callable[[int, int], None],
) -> Progress:
    """Return the results of *campaign* that *topic* holds, from *since* on; None: from its beginning.

    *consumer* is of no group; *progress* is told how many records of how many have been read.
    """
    found = Progress(now=clock.epoch())
    starts, ends = await _span(consumer, topic, partitions, since)
    consumer.assign(list(starts))
    for partition, start in starts.items():
        consumer.seek(partition, start)
    unread = {partition for partition, start in starts.items() if start < ends[partition]}
    total = sum(ends[partition] - start for partition, start in starts.items())
    read, deadline = 0, clock.monotonic() + _STALL
    while unread:
        batches = await consumer.getmany(*unread, timeout_ms=_POLL_MS)
        for record in chain.from_iterable(batches.values()):
            _count(found, record, campaign)
            read += 1
            deadline = clock.monotonic() + _STALL
        for partition in list(unread):
            if await consumer.position(partition) >= ends[partition]:
                unread.discard(partition)
        progress(min(read, total), total)
        if clock.monotonic() > deadline:
            raise KafkaUnavailableError(f"Kafka gave nothing of {topic} for {_STALL:.0f} s; run the command again")
    return found


async def _span(consumer: Any, topic: str, count: int, since: datetime | None) -> tuple[Offsets, Offsets]:
    """Return from where to where each partition is to be read."""
    partitions = [TopicPartition(topic, number) for number in range(count)]
    starts = dict(await consumer.beginning_offsets(partitions))
    ends = await consumer.end_offsets(partitions)
    if since is not None:
        at = int(since.timestamp() * 1000)
        for partition, first in (await consumer.offsets_for_times(dict.fromkeys(partitions, at))).items():
            starts[partition] = ends[partition] if first is None else max(starts[partition], first.offset)
    return starts, ends


def _count(found: Progress, record: Any, campaign: str) -> None:
    try:
        result = _decode(record.value)
    except msgspec.MsgspecError:
        return  # a stranger's
    if result.campaign == campaign:
        found.add(result.status, result.segments, result.code, record.timestamp / 1000)
