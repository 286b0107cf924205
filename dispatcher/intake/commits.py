"""Commits what is settled, one commit at a time; each one that succeeds renews the lease."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from dispatcher.clock import Clock
from dispatcher.domain.fence import Fence
from dispatcher.intake.offsets import PartitionOffsets
from dispatcher.telemetry import metrics

log = structlog.get_logger()

PATIENCE = 3.0


class Commits:
    """Writes commits of the partitions that are ours, and proves with each of them that they still are.

    *positions* gives those of the journal and the results that belong into a commit, for an index. *renewed* is called
    after each commit that succeeded, and *done* counts them.
    """

    def __init__(
        self,
        *,
        tasks: asyncio.TaskGroup,
        clock: Clock,
        fence: Fence,
        positions: Callable[[int], tuple[tuple[int, int], int]],
        renewed: Callable[[], None],
    ) -> None:
        self._tasks = tasks
        self._clock = clock
        self._fence = fence
        self._positions = positions
        self._renewed = renewed
        self._offsets: Mapping[TopicPartition, PartitionOffsets] = {}
        self._committed: dict[TopicPartition, tuple[int, str]] = {}
        self._running: asyncio.Task[None] | None = None
        self.done = 0

    def own(self, offsets: Mapping[TopicPartition, PartitionOffsets]) -> None:
        """From now on these partitions are ours; {} is none."""
        self._offsets = offsets
        self._committed = {}

    async def commit(self, consumer: Any) -> None:
        """Commit with *consumer*, unless an earlier commit does not come to an end.

        One at a time: a commit that overtakes a newer one would set the group back. A commit cannot be cancelled (the
        request would run on), so one that hangs is left alone; meanwhile the lease runs out.
        """
        if (earlier := self._unfinished()) is not None:
            await asyncio.wait([earlier], timeout=PATIENCE)
            # It may have been left meanwhile, or another who waited for it may have begun the next.
            if self._unfinished() is not None:
                return
        self._running = self._tasks.create_task(self._commit_now(consumer), name="commit")
        await asyncio.wait([self._running], timeout=PATIENCE)

    def leave(self) -> None:
        """Wait no longer for a commit that hangs: the consumer is stopped, and its request with it."""
        if self._running is not None:
            self._running.cancel()
            self._running = None

    def _unfinished(self) -> asyncio.Task[None] | None:
        return self._running if self._running is not None and not self._running.done() else None

    async def _commit_now(self, consumer: Any) -> None:
        commits = {partition: self._bookmark(partition, offsets) for partition, offsets in self._offsets.items()}
        if not commits:
            return
        changed = {
            partition: commit for partition, commit in commits.items() if commit != self._committed.get(partition)
        }
        began = self._clock.monotonic()
        try:
            # Something is committed in any case: it is the commit that proves us a member of the group.
            await consumer.commit(changed or dict([next(iter(commits.items()))]))
        except KafkaError as error:
            log.warning("offsets were not committed; trying again", error=repr(error))
            metrics.COMMITS.labels("failed").inc()
            return
        self._committed |= changed
        self._fence.renew(began)
        self.done += 1
        metrics.COMMITS.labels("ok").inc()
        self._renewed()

    def _bookmark(self, partition: TopicPartition, offsets: PartitionOffsets) -> tuple[int, str]:
        journal, results = self._positions(partition.partition)
        return offsets.commit(journal=journal, results=results)
