"""How far a campaign is: counted from the results, which are the truth about it."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from dispatcher.clock import Clock
from dispatcher.domain.control import Counted
from dispatcher.domain.errors import KafkaUnavailableError
from dispatcher.domain.job import is_second
from dispatcher.domain.outcome import Status
from dispatcher.transport.kafka import TopicPartition

# A count that read so many records is written down, so that the next one goes on from there.
WORTH_REMEMBERING = 20_000
# What the rate is measured over. Seconds.
RECENTLY = 60.0
_POLL_MS = 500
_STALL = 60.0


class _Result(msgspec.Struct, gc=False):
    """What counts of a result here."""

    campaign: str
    status: Status
    id: str = ""
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

    def go_on_from(self, before: Counted) -> None:
        """Begin with what was counted *before*."""
        self.statuses.update(before.statuses)
        self.codes.update(before.codes)
        self.segments += before.segments

    def add_all(self, other: "Progress") -> None:
        """Count what *other* counted, none of which is recent."""
        self.statuses += other.statuses
        self.codes += other.codes
        self.segments += other.segments

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


@dataclass(slots=True)
class Count:
    """What was counted of a campaign for good: the *progress* before *offsets*, of which *records* were read now.

    In the partitions *closed* something recent came: what follows is counted by the next one, too.
    """

    progress: Progress
    offsets: dict[int, int]
    records: int = 0
    closed: set[int] = field(default_factory=set)

    def remembered(self, mark: str) -> Counted:
        """Return it as it is written down, for what was begun with *mark*."""
        done = self.progress
        return Counted(
            mark=mark, offsets=self.offsets, statuses=done.statuses, codes=done.codes, segments=done.segments
        )


async def count_results(
    consumer: Any,
    clock: Clock,
    *,
    topic: str,
    partitions: int,
    campaign: str,
    since: datetime | None,
    before: Counted | None,
    progress: Callable[[int, int], None],
) -> tuple[Progress, Count]:
    """Return the results of *campaign* that *topic* holds, and what of that will never change.

    They are read from where an earlier count stopped *before*; without one from *since* on, None is the beginning.
    *consumer* is of no group; *progress* is told how many records of how many have been read.
    """
    recent = Progress(now=clock.epoch())
    starts, ends = await _span(consumer, topic, partitions, since)
    old = Count(Progress(now=recent.now), {partition.partition: start for partition, start in starts.items()})
    if before is not None and _fits(before, ends):
        old.progress.go_on_from(before)
        starts = {partition: max(start, before.offsets[partition.partition]) for partition, start in starts.items()}
    consumer.assign(list(starts))
    for partition, start in starts.items():
        consumer.seek(partition, start)
        old.offsets[partition.partition] = start
    unread = {partition for partition, start in starts.items() if start < ends[partition]}
    total = sum(ends[partition] - start for partition, start in starts.items())
    read, deadline = 0, clock.monotonic() + _STALL
    while unread:
        for partition, records in (await consumer.getmany(*unread, timeout_ms=_POLL_MS)).items():
            _count(records, campaign, old, recent)
            read += len(records)
            deadline = clock.monotonic() + _STALL
            if await consumer.position(partition) >= ends[partition]:
                unread.discard(partition)
        progress(min(read, total), total)
        if clock.monotonic() > deadline:
            raise KafkaUnavailableError(f"Kafka gave nothing of {topic} for {_STALL:.0f} s; run the command again")
    recent.add_all(old.progress)
    return recent, old


def _fits(before: Counted, ends: Offsets) -> bool:
    """Say whether *before* is of this topic, and not of one of the same name that was deleted."""
    return all(before.offsets.get(partition.partition, end + 1) <= end for partition, end in ends.items())


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


def _count(records: Sequence[Any], campaign: str, old: Count, recent: Progress) -> None:
    """Count *records* of one partition: to *old* as long as they are old, since the rate is that of recent ones."""
    partition = records[0].partition
    for record in records:
        at = record.timestamp / 1000
        if at > old.progress.now - RECENTLY:
            old.closed.add(partition)
        is_old = partition not in old.closed
        if is_old:
            old.offsets[partition] = record.offset + 1
            old.records += 1
        try:
            result = _decode(record.value)
        except msgspec.MsgspecError:
            continue  # a stranger's
        # What was sent again, undelivered, is a message of its own, and no row.
        if result.campaign == campaign and not is_second(result.id):
            (old.progress if is_old else recent).add(result.status, result.segments, result.code, at)
