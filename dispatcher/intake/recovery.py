"""What the last owners of partitions did and did not come to commit: read from the journal and the results."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog
from aiokafka import TopicPartition

from dispatcher.clock import Clock
from dispatcher.domain.journal import Intent, decode_page, open_intents
from dispatcher.domain.outcome import Position, Status
from dispatcher.domain.parking import Whereabouts
from dispatcher.intake.offsets import Bookmark

log = structlog.get_logger()


class _Result(msgspec.Struct, gc=False):
    """What is read of a result."""

    id: str
    status: Status
    job: Position
    sid: str | None = None
    parked: Position | None = None


_decode_result = msgspec.json.Decoder(_Result).decode


@dataclass(slots=True)
class InheritedPages:
    """What former owners wrote into a partition of the journal from *offset* on; *open* jobs of it are not settled."""

    offset: int
    open: int = 0


@dataclass(slots=True)
class Recovered:
    """Jobs by topic, partition and offset: *settled* have a result; those in *doubt* have an intent and none.

    *sids* are those of the results, *seen* where their jobs stood first and last, by id; *pages* are those of the
    journal that were read, *journal_ends* and *result_ends* where the two topics ended, by partition.
    """

    settled: set[tuple[str, int, int]] = field(default_factory=set)
    doubt: dict[tuple[str, int, int], Intent] = field(default_factory=dict)
    sids: set[str] = field(default_factory=set)
    seen: dict[str, Position | Whereabouts] = field(default_factory=dict)
    pages: dict[int, InheritedPages] = field(default_factory=dict)
    journal_ends: dict[int, int] = field(default_factory=dict)
    result_ends: dict[int, int] = field(default_factory=dict)


class History:
    """Reads what was written about partitions before they came to this worker, with a *consumer* of no group.

    Results are read from *horizon* seconds ago on, at least. *records_read* counts, over all readings.
    """

    def __init__(self, consumer: Any, clock: Clock, *, journal: str, results: str, horizon: float) -> None:
        self._consumer = consumer
        self._clock = clock
        self._horizon = horizon
        self._journal = journal
        self._results = results
        self.records_read = 0

    async def read(self, bookmarks: Mapping[TopicPartition, Bookmark]) -> Recovered:
        """Return what happened to the jobs of partitions since they were committed as *bookmarks* say."""
        indices = {partition.partition for partition in bookmarks}
        starts = {
            TopicPartition(topic, index): min(
                (getattr(bookmark, kind) or 0) for tp, bookmark in bookmarks.items() if tp.partition == index
            )
            for index in indices
            for topic, kind in ((self._journal, "journal"), (self._results, "results"))
        }
        recovered = Recovered()
        if not starts:
            return recovered
        for partition, start in (await self._at_the_horizon(indices)).items():
            starts[partition] = min(starts[partition], start)
        records, ends = await self._read_from(starts)
        recovered.journal_ends = {tp.partition: end for tp, end in ends.items() if tp.topic == self._journal}
        recovered.result_ends = {tp.partition: end for tp, end in ends.items() if tp.topic == self._results}
        for index in indices:
            recovered.pages[index] = InheritedPages(starts[TopicPartition(self._journal, index)])
            for result in _decoded(records[TopicPartition(self._results, index)], _decode_result):
                stood = result.parked or result.job
                recovered.settled.add((stood.topic, index, stood.offset))
                if result.sid is not None:
                    recovered.sids.add(result.sid)
                # A repeated id is suppressed at once, maybe before its first job has a result: that is no trace of it.
                if result.status != "suppressed":
                    recovered.seen[result.id] = result.job if stood == result.job else Whereabouts(result.job, stood)
            pages = _decoded(records[TopicPartition(self._journal, index)], decode_page)
            for (topic, offset), intent in open_intents(pages).items():
                if (topic, index, offset) not in recovered.settled:
                    recovered.doubt[topic, index, offset] = intent
        return recovered

    async def _at_the_horizon(self, indices: set[int]) -> dict[TopicPartition, int]:
        """Return the offsets of the results that are as old as the horizon, where there are younger ones."""
        since = int((self._clock.epoch() - self._horizon) * 1000)
        partitions = [TopicPartition(self._results, index) for index in indices]
        found = await self._consumer.offsets_for_times(dict.fromkeys(partitions, since))
        return {partition: at.offset for partition, at in found.items() if at is not None}

    async def _read_from(
        self, starts: Mapping[TopicPartition, int]
    ) -> tuple[dict[TopicPartition, list[Any]], dict[TopicPartition, int]]:
        """Return the records of each partition from its start to its present end, and the ends."""
        consumer = self._consumer
        consumer.assign(list(starts))
        beginnings = await consumer.beginning_offsets(list(starts))
        ends: dict[TopicPartition, int] = await consumer.end_offsets(list(starts))
        for partition, start in starts.items():
            consumer.seek(partition, max(start, beginnings[partition]))
        records: dict[TopicPartition, list[Any]] = {partition: [] for partition in starts}
        unread = {partition for partition in starts if max(starts[partition], beginnings[partition]) < ends[partition]}
        while unread:
            for partition, found in (await consumer.getmany(*unread, timeout_ms=1000)).items():
                self.records_read += len(found)
                records[partition] += [record for record in found if record.offset < ends[partition]]
                if await consumer.position(partition) >= ends[partition]:
                    unread.discard(partition)
        consumer.unsubscribe()
        return records, ends


def _decoded(records: list[Any], decode: Any) -> Iterator[Any]:
    """Yield what *records* hold; what a stranger wrote into an internal topic is passed over."""
    for record in records:
        try:
            yield decode(record.value)
        except msgspec.MsgspecError as error:
            log.warning("an internal record cannot be read", topic=record.topic, offset=record.offset, error=str(error))
