"""What the intake takes in hand while the group hands partitions out anew."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from dispatcher.clock import SystemClock
from dispatcher.domain.fence import Fence
from dispatcher.domain.fleet import PriorityClass
from dispatcher.intake import consumer as intake_consumer
from dispatcher.intake.consumer import BATCH, Intake
from dispatcher.intake.recovery import Recovered

JOBS = TopicPartition("jobs", 0)


class Log:
    """A partition of 500 records and a consumer of it; a read may be made to wait for the next assignment."""

    def __init__(self) -> None:
        self.position = 0
        self.held = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def getmany(self, *partitions: TopicPartition, timeout_ms: int, max_records: int) -> dict[Any, list[Any]]:
        del timeout_ms
        if JOBS not in partitions:
            return {}
        self.held.set()
        await self.go_on.wait()
        first, self.position = self.position, min(500, self.position + max_records)
        records = [SimpleNamespace(offset=offset, value=b"{}") for offset in range(first, self.position)]
        return {JOBS: records} if records else {}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        assert partition == JOBS
        self.position = offset

    async def commit(self, _offsets: Any) -> None:
        pass


@pytest.mark.parametrize("when", ["while the past is read", "after the assignment"])
async def test_what_a_read_brings_that_outlived_its_assignment_is_read_again(
    monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    log = Log()
    taken: list[int] = []

    async def no_commits(*_: Any) -> dict[Any, Any]:
        return {}

    async def nothing(*_: Any) -> None:
        pass

    async def resume(*_: Any) -> None:
        if when == "while the past is read" and not log.go_on.is_set():
            log.go_on.set()
            await stale

    monkeypatch.setattr(intake_consumer, "committed", no_commits)
    async with asyncio.TaskGroup() as tasks:
        intake = Intake(
            consumer=log,
            admin=None,
            group_id="group",
            priorities=[PriorityClass(name="bulk", topic="jobs", weight=1)],
            partitions=1,
            clock=SystemClock(),
            tasks=tasks,
            receive=lambda _offsets, record, _priority: taken.append(record.offset),
            after_batch=lambda: None,
            drain=nothing,
            abandon=lambda: None,
            resume=resume,
            positions=lambda _: (0, 0),
            history=SimpleNamespace(read=lambda _: asyncio.sleep(0, Recovered())),  # type: ignore[arg-type]
            fence=Fence(11.0),
        )
        await intake._assigned({JOBS})
        log.go_on.clear()
        stale = tasks.create_task(intake._poll())
        await log.held.wait()
        await intake._revoked({JOBS})
        log.position = 0  # where the group's commit stands
        await intake._assigned({JOBS})
        log.go_on.set()
        await stale
        assert taken == []
        await intake._poll()
    assert taken == list(range(BATCH))
