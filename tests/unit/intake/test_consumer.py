"""What the intake takes in hand while the group hands partitions out anew, and what ends its work."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
)
from structlog.testing import capture_logs

from dispatcher.clock import SystemClock
from dispatcher.domain.errors import DispatcherError, KafkaUnavailableError
from dispatcher.domain.fence import Fence
from dispatcher.domain.fleet import PriorityClass
from dispatcher.domain.journal import Intent
from dispatcher.intake import commits
from dispatcher.intake import consumer as intake_consumer
from dispatcher.intake.consumer import BATCH, POLL, Intake
from dispatcher.intake.held import Held
from dispatcher.intake.offsets import PartitionOffsets
from dispatcher.intake.recovery import Recovered
from dispatcher.intake.watchdog import PATIENCE, Mechanism
from dispatcher.transport.fetching import GATHER_BYTES, GATHER_FOR
from tests.clock import FakeClock

JOBS = TopicPartition("jobs", 0)


class Fetcher:
    """What is set of aiokafka's."""

    def _get_actions_per_node(self, _assignment: Any) -> None:
        raise NotImplementedError


class Log:
    """A partition of 500 records and a consumer of it; a read may be made to wait for the next assignment."""

    def __init__(self) -> None:
        self._fetcher: Any = Fetcher()
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

    def subscribe(self, topics: list[str], *, listener: Any) -> None:
        assert topics == ["jobs"]
        self.listener = listener

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
        "open_consumer": lambda: nullcontext(log),
        "receive": lambda *_: None,
        "held": Held({}),
        "receive_parked": lambda *_: None,
        "written": lambda *_: 0,
        "make_room": lambda: None,
        "after_batch": lambda: None,
        "drain": nothing,
        "abandon": lambda: None,
        "resume": nothing,
        "positions": lambda _: ((0, 0), 0),
        "history": SimpleNamespace(read=lambda _: asyncio.sleep(0, Recovered())),
    }
    intake = Intake(
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
            log,
            monkeypatch,
            tasks,
            resume=resume,
            receive=lambda _, records, __: taken.extend(record.offset for record in records),
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


async def test_kafka_gathers_while_jobs_come_and_answers_at_once_while_hardly_any_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log, clock, asked_for = Log(), FakeClock(), []
    takes = iter((GATHER_FOR, GATHER_FOR, POLL, GATHER_FOR, 0.0))

    async def getmany(*_: TopicPartition, **__: Any) -> dict[Any, list[Any]]:
        asked_for.append(log._fetcher._fetch_min_bytes)
        clock.advance(next(takes))
        return {}

    monkeypatch.setattr(log, "getmany", getmany)
    monkeypatch.setattr(clock, "sleep", nothing)
    async with asyncio.TaskGroup() as tasks:
        intake = intake_of(log, monkeypatch, tasks)
        intake._clock = clock
        await intake._assigned({JOBS})
        for _ in range(5):
            await intake._poll()
    assert asked_for == [1, GATHER_BYTES, GATHER_BYTES, 1, GATHER_BYTES]


async def test_what_was_inherited_in_doubt_keeps_its_page_until_it_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    of_jobs: list[PartitionOffsets] = []
    # Job 7 has a result and was settled; 3 and 9 are in doubt.
    recovered = Recovered(
        settled={("jobs", 0, 7)},
        doubt={("jobs", 0, offset): Intent("jobs", 0, offset, "id", 1, "72345", 0.0) for offset in (3, 7, 9)},
    )
    page = SimpleNamespace(open=0)

    async def resume(told: Recovered, _: object) -> Any:
        assert sorted(told.doubt) == [("jobs", 0, 3), ("jobs", 0, 9)]
        return page

    async with asyncio.TaskGroup() as tasks:
        intake = intake_of(
            log,
            monkeypatch,
            tasks,
            receive=lambda offsets, _, __: of_jobs.append(offsets),
            resume=resume,
            history=SimpleNamespace(read=lambda _: asyncio.sleep(0, recovered)),
        )
        await intake._assigned({JOBS})
        await intake._poll()
        for offset, left in ((3, 1), (4, 1), (9, 0)):
            of_jobs[0].settle(offset)
            assert page.open == left


async def test_what_comes_back_while_the_last_commit_is_under_way_is_no_longer_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a drain that took too long: its outcome might be written when another has the partition already."""
    log = Log()
    taken: list[PartitionOffsets] = []
    owned: list[bool] = []

    async def commit(offsets: dict[TopicPartition, tuple[int, str]]) -> None:
        assert JOBS in offsets
        owned.extend(offsets.is_owned for offsets in taken)

    async with asyncio.TaskGroup() as tasks:
        intake = intake_of(log, monkeypatch, tasks, receive=lambda offsets, _, __: taken.append(offsets))
        await intake._assigned({JOBS})
        await intake._poll()
        monkeypatch.setattr(log, "commit", commit)
        await intake._revoked({JOBS})
    assert set(owned) == {False}


async def test_a_kafka_that_is_away_ends_a_worker_that_begins_and_not_one_whose_consumer_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake_consumer, "RETRY_AFTER", 0)
    log = Log()
    stop = asyncio.Event()
    ways: list[str] = ["works, then breaks", "away", "away", "works", "away"]

    @asynccontextmanager
    async def open_consumer() -> AsyncIterator[Log]:
        way = ways.pop(0)
        if way == "away":
            raise KafkaUnavailableError
        if way == "works":
            stop.set()
        yield log

    async def break_down(*_: Any, **__: Any) -> dict[Any, Any]:
        if log.held.is_set():
            raise KafkaConnectionError
        log.held.set()
        return {}

    monkeypatch.setattr(log, "getmany", break_down)
    async with asyncio.TaskGroup() as tasks:
        await intake_of(log, monkeypatch, tasks, open_consumer=open_consumer).run(stop)
        stop.clear()
        with pytest.raises(KafkaUnavailableError):
            await intake_of(log, monkeypatch, tasks, open_consumer=open_consumer).run(stop)
    assert ways == []


@pytest.mark.parametrize("error", [TopicAuthorizationFailedError("jobs"), GroupAuthorizationFailedError("group")])
async def test_who_may_not_read_is_told_so_at_once(monkeypatch: pytest.MonkeyPatch, error: KafkaError) -> None:
    log = Log()
    monkeypatch.setattr(log, "getmany", AsyncMock(side_effect=error))
    with pytest.raises(ExceptionGroup) as raised:
        async with asyncio.TaskGroup() as tasks:
            await intake_of(log, monkeypatch, tasks).run(asyncio.Event())
    assert raised.group_contains(DispatcherError, match="does not let this worker read", depth=2)


class EndlessPast:
    """A past that is never read to its end; *is_moving*: because there is so much of it."""

    def __init__(self, *, is_moving: bool) -> None:
        self._is_moving = is_moving
        self._reads = 0

    @property
    def records_read(self) -> int:
        self._reads += self._is_moving
        return self._reads

    async def read(self, _: Any) -> Recovered:
        await asyncio.Event().wait()
        raise AssertionError("it has no end")


@pytest.mark.parametrize("is_moving", [False, True])
async def test_a_takeover_that_does_not_move_on_is_broken_off(
    monkeypatch: pytest.MonkeyPatch, *, is_moving: bool
) -> None:
    monkeypatch.setattr(intake_consumer, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(intake_consumer, "RETRY_AFTER", 0.0)
    log, past, stop = Log(), EndlessPast(is_moving=is_moving), asyncio.Event()
    consumers = 0

    @asynccontextmanager
    async def open_consumer() -> AsyncIterator[Log]:
        nonlocal consumers
        consumers += 1
        yield log

    with capture_logs() as said:
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            intake = intake_of(log, monkeypatch, tasks, history=past, open_consumer=open_consumer)
            running = tasks.create_task(intake.run(stop))
            while not hasattr(log, "listener"):  # noqa: ASYNC110 - it subscribes as its first step
                await asyncio.sleep(0)
            handing_over = tasks.create_task(log.listener.on_partitions_assigned([JOBS]))
            while consumers == 1 and past.records_read < 10 * PATIENCE:  # noqa: ASYNC110 - looks are no events
                await asyncio.sleep(0)
            stop.set()
            await running
            await handing_over
    replaced = [line["because"] for line in said if line["event"] == "the consumer is replaced"]
    assert replaced == ([] if is_moving else [Mechanism.TAKEOVER.value])


async def test_a_commit_that_hangs_does_not_outlive_its_consumer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "PATIENCE", 0)
    log = Log()
    stop = asyncio.Event()

    async def hang(_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(log, "commit", hang)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(intake_of(log, monkeypatch, tasks).run(stop))
        while not running.done() and not hasattr(log, "listener"):  # noqa: ASYNC110 - it subscribes as its first step
            await asyncio.sleep(0)
        await log.listener.on_partitions_assigned([JOBS])
        stop.set()


async def test_room_is_made_when_of_a_partition_no_more_may_be_taken_and_not_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake_consumer, "MOST_IN_HAND", BATCH)
    log, asked = Log(), 0

    def make_room() -> None:
        nonlocal asked
        asked += 1

    async with asyncio.TaskGroup() as tasks:
        intake = intake_of(log, monkeypatch, tasks, make_room=make_room)
        await intake._assigned({JOBS})
        await intake._poll()
        assert (log.position, asked) == (BATCH, 0)
        await intake._poll()
        await intake._poll()
        assert (log.position, asked) == (BATCH, 1), "and not with each poll"
