"""What the last owners of partitions did and did not come to commit: read from the journal and the results."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

import msgspec
import structlog
from aiokafka import TopicPartition

from dispatcher.clock import Clock
from dispatcher.domain.caps import Charge
from dispatcher.domain.journal import Intent, Page, Place, Tried, decode_page, open_intents, tried_before
from dispatcher.domain.outcome import Position, Status
from dispatcher.domain.parking import Whereabouts
from dispatcher.intake.copies import Copies
from dispatcher.intake.offsets import Bookmark

log = structlog.get_logger()


class _Result(msgspec.Struct, gc=False):
    """What is read of a result."""

    id: str
    status: Status
    job: Position
    sid: str | None = None
    parked: Position | None = None
    charges: tuple[Charge, ...] = ()


_decode_result = msgspec.json.Decoder(_Result).decode


@dataclass(slots=True)
class Recovered:
    """What former owners left, by the jobs' places: *settled* ones have a result; those in *doubt* an intent and none.

    Of those that were *tried* attempts came to nothing, whether they are in doubt or not.

    *sids* are those of the results, *seen* where their jobs stood first and last, by id; *result_ends* where the
    results ended, by partition. *charged* are what results took of caps, by partition, each with its offset.
    """

    settled: set[Place] = field(default_factory=set)
    doubt: dict[Place, Intent] = field(default_factory=dict)
    tried: dict[Place, Tried] = field(default_factory=dict)
    sids: set[str] = field(default_factory=set)
    seen: dict[str, Position | Whereabouts] = field(default_factory=dict)
    result_ends: dict[int, int] = field(default_factory=dict)
    charged: dict[int, list[tuple[int, tuple[Charge, ...]]]] = field(default_factory=dict)


class History:
    """Reads what was written about partitions before they came to this worker, with a *consumer* of no group.

    Results are read from *horizon* seconds ago on, at least, and from where *results_since* says of indices. Of the
    journal the last owner wrote one partition, and its commits say from where on to read it; where nobody has said, all
    of it is read, from the horizon on. *copies* tells of parked jobs. *records_read* counts, over all readings.
    """

    def __init__(
        self,
        consumer: Any,
        clock: Clock,
        *,
        journal: str,
        results: str,
        partitions: int,
        horizon: float,
        copies: Copies | None = None,
        results_since: Callable[[Collection[int]], Awaitable[Mapping[int, int]]] | None = None,
    ) -> None:
        self._consumer = consumer
        self._clock = clock
        self._horizon = horizon
        self._journal = journal
        self._results = results
        self._partitions = partitions
        self._copies = copies
        self._results_since = results_since
        self.records_read = 0

    async def read(self, bookmarks: Mapping[TopicPartition, Bookmark]) -> Recovered:
        """Return what happened to the jobs of partitions since they were committed as *bookmarks* say."""
        indices = {partition.partition for partition in bookmarks}
        if not indices:
            return Recovered()
        horizon = await self._at_the_horizon(indices)
        since = await self._results_since(indices) if self._results_since is not None else {}
        books = {index: self._books_of(index, bookmarks, horizon) for index in indices}
        starts: dict[TopicPartition, int] = {}
        for index in indices:
            partition = TopicPartition(self._results, index)
            said = min((bookmark.results or 0) for tp, bookmark in bookmarks.items() if tp.partition == index)
            starts[partition] = min(said, horizon.get(partition, said), since.get(index, said))
            for book, start in books[index].items():
                starts[book] = min(start, starts.get(book, start))
        records, ends = await self._read_from(starts)
        recovered = Recovered(result_ends={tp.partition: end for tp, end in ends.items() if tp.topic == self._results})
        for index in indices:
            _read_results(recovered, index, records[TopicPartition(self._results, index)])
        for book in set[TopicPartition]().union(*books.values()):
            first = {index: starts_at[book] for index, starts_at in books.items() if book in starts_at}
            pages = list(_pages(records[book], first))
            recovered.doubt |= open_intents(pages)
            recovered.tried |= tried_before(pages)
        if self._copies is not None:
            recovered.settled |= await self._copies.uncommitted(bookmarks)
        for place in recovered.settled & recovered.doubt.keys():
            del recovered.doubt[place]
        return recovered

    def _books_of(
        self, index: int, bookmarks: Mapping[TopicPartition, Bookmark], horizon: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """Return which partitions of the journal tell of the jobs with that *index*, and from where on."""
        books: dict[TopicPartition, int] = {}
        for tp, bookmark in bookmarks.items():
            if tp.partition == index and bookmark.journal is not None:
                book, offset = TopicPartition(self._journal, bookmark.journal[0]), bookmark.journal[1]
                books[book] = min(offset, books.get(book, offset))
        # A topic that is new to the group has no commit yet; its first owner's others speak for it.
        return books or {partition: start for partition, start in horizon.items() if partition.topic == self._journal}

    async def _at_the_horizon(self, indices: Collection[int]) -> dict[TopicPartition, int]:
        """Return the offsets of results and journal that are as old as the horizon, where there are younger ones."""
        since = int((self._clock.epoch() - self._horizon) * 1000)
        partitions = [TopicPartition(self._results, index) for index in indices]
        partitions += [TopicPartition(self._journal, index) for index in range(self._partitions)]
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


def _read_results(recovered: Recovered, index: int, records: Iterable[Any]) -> None:
    """Note what *records* of the results say of jobs in the partitions with that *index*."""
    charged: dict[Position, tuple[int, tuple[Charge, ...]]] = {}
    for result, record in _decoded(records, _decode_result):
        stood = result.parked or result.job
        recovered.settled.add((stood.topic, index, stood.offset))
        if result.charges:  # the same may stand there twice, after a failure of Kafka's
            charged.setdefault(stood, (record.offset, result.charges))
        if result.sid is not None:
            recovered.sids.add(result.sid)
        # A repeated id is suppressed at once, maybe before its first job has a result: that is no trace of it.
        if result.status != "suppressed":
            recovered.seen[result.id] = result.job if stood == result.job else Whereabouts(result.job, stood)
    recovered.charged[index] = [*charged.values()]


def _pages(records: Iterable[Any], first: Mapping[int, int]) -> Iterator[Page]:
    """Yield the pages in *records*, without what is said of jobs in other partitions than those in *first*.

    Of each of these counts what stands from the offset there on.
    """
    for page, record in _decoded(records, decode_page):
        offset = record.offset
        page.intents = [intent for intent in page.intents if first.get(intent.partition, inf) <= offset]
        page.tried = [tried for tried in page.tried if first.get(tried.partition, inf) <= offset]
        yield page


def _decoded(records: Iterable[Any], decode: Any) -> Iterator[tuple[Any, Any]]:
    """Yield what *records* hold, each with its record; what a stranger wrote into an internal topic is passed over."""
    for record in records:
        try:
            yield decode(record.value), record
        except msgspec.MsgspecError as error:
            log.warning("an internal record cannot be read", topic=record.topic, offset=record.offset, error=str(error))
