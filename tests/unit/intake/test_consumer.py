"""What the intake takes in hand while the group hands partitions out anew."""

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from dispatcher.clock import SystemClock
from dispatcher.domain.fence import Fence
from dispatcher.domain.fleet import PriorityClass
from dispatcher.domain.journal import Intent
from dispatcher.intake import consumer as intake_consumer
from dispatcher.intake.consumer import BATCH, Intake
from dispatcher.intake.offsets import PartitionOffsets
from dispatcher.intake.recovery import InheritedPages, Recovered

JOBS = TopicPartition("jobs", 0)


class Log:
    """A partition of 500 records and a consumer of it; a read may be made to wait for the next assignment."""

    def __init__(self) -> None:
        self.position = 0
        self.held = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.committed = (0, "")

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

    async def commit(self, offsets: dict[TopicPartition, tuple[int, str]]) -> None:
        self.committed = offsets[JOBS]


async def nothing(*_: Any) -> None:
    pass


def intake_of(log: Log, monkeypatch: pytest.MonkeyPatch, tasks: asyncio.TaskGroup, **more: Any) -> Intake:
    """An intake of one partition without a past, but for what *more* says."""

    async def no_commits(*_: Any) -> dict[Any, Any]:
        return {}

    monkeypatch.setattr(intake_consumer, "committed", no_commits)
    settings: dict[str, Any] = {
        "receive": lambda *_: None,
        "after_batch": lambda: None,
        "drain": nothing,
        "abandon": lambda: None,
        "resume": nothing,
        "positions": lambda _: (0, 0),
        "history": SimpleNamespace(read=lambda _: asyncio.sleep(0, Recovered())),
    }
    intake = Intake(
        open_consumer=lambda: nullcontext(log),
        ends=no_commits,
        admin=None,
        group_id="group",
        priorities=[PriorityClass(name="bulk", topic="jobs", weight=1)],
        partitions=1,
        clock=SystemClock(),
        tasks=tasks,
        fence=Fence(11.0),
        **(settings | more),
    )
    intake._consumer = log
    return intake


@pytest.mark.parametrize("when", ["while the past is read", "after the assignment"])
async def test_what_a_read_brings_that_outlived_its_assignment_is_read_again(
    monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    log = Log()
    taken: list[int] = []

    async def resume(*_: Any) -> None:
        if when == "while the past is read" and not log.go_on.is_set():
            log.go_on.set()
            await stale

    async with asyncio.TaskGroup() as tasks:
        intake = intake_of(
            log, monkeypatch, tasks, resume=resume, receive=lambda _, record, __: taken.append(record.offset)
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


async def test_the_next_owner_reads_of_inherited_doubts_until_they_are_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    of_jobs: list[PartitionOffsets] = []
    # Job 7 has a result and was settled; 3 and 9 are in doubt. The journal was read from 40 on, and ends at 50.
    recovered = Recovered(
        settled={("jobs", 0, 7)},
        doubt={("jobs", 0, offset): Intent("jobs", offset, "id", 1, "72345", 0.0) for offset in (3, 7, 9)},
        pages={0: InheritedPages(40)},
    )

    async with asyncio.TaskGroup() as tasks:
        intake = intake_of(
            log,
            monkeypatch,
            tasks,
            receive=lambda offsets, _, __: of_jobs.append(offsets),
            positions=lambda _: (50, 0),
            history=SimpleNamespace(read=lambda _: asyncio.sleep(0, recovered)),
        )

        async def committed_position() -> str:
            await intake._commit()
            return log.committed[1].split()[1]

        await intake._assigned({JOBS})
        assert await committed_position() == "40"
        await intake._poll()
        of_jobs[0].settle(3)
        assert await committed_position() == "40"
        of_jobs[0].settle(9)
        assert await committed_position() == "50"
