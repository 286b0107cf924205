"""Commits go one at a time, and one that hangs can be left."""

import asyncio

from aiokafka import TopicPartition

from dispatcher.domain.fence import Fence
from dispatcher.intake.commits import Commits
from dispatcher.intake.offsets import Bookmark, PartitionOffsets
from tests.clock import FakeClock

JOBS = TopicPartition("jobs", 0)


class Consumer:
    """Takes commits once it is *up*."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.asked = 0

    async def commit(self, _offsets: object) -> None:
        self.asked += 1
        await self.up.wait()


async def test_whoever_waits_for_a_commit_that_is_left_goes_on_with_the_next(clock: FakeClock) -> None:
    hangs, works = Consumer(), Consumer()
    works.up.set()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        commits = Commits(
            tasks=tasks, clock=clock, fence=Fence(11), positions=lambda _index: ((0, 0), 0), renewed=lambda: None
        )
        commits.own({JOBS: PartitionOffsets("jobs", 0, Bookmark())})
        for consumer in (hangs, works):
            tasks.create_task(commits.commit(consumer))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert (hangs.asked, works.asked) == (1, 0)
        commits.leave()
    assert (works.asked, commits.done) == (1, 1)
