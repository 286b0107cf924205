"""A real consumer that gets stuck is replaced, a Kafka that is away is waited for, and what does not help is said."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from benchmarks.stage import until
from dispatcher.broker.local_kafka import LocalKafka
from dispatcher.clock import SystemClock
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.fence import Fence
from dispatcher.domain.fleet import PriorityClass
from dispatcher.domain.settings import KafkaSettings
from dispatcher.intake import consumer as intake_consumer
from dispatcher.intake.consumer import Intake
from dispatcher.intake.held import Held
from dispatcher.intake.offsets import PartitionOffsets
from dispatcher.intake.recovery import History
from dispatcher.intake.watchdog import PATIENCE, Mechanism
from dispatcher.transport.kafka import TopicSpec, ensure_topics, make_admin, make_consumer, make_producer, running
from tests.integration.intake.faults import FAULTS

pytestmark = pytest.mark.kafka

PARTITIONS = 3
LOOK_EVERY = 0.4


class Desk:
    """An intake of one topic that settles each job as it comes; *taken* is what came, *consumers* is what it used."""

    def __init__(self, kafka: str, unique: Callable[[str], str]) -> None:
        self.settings = KafkaSettings(
            bootstrap_servers=kafka, group_id=unique("group"), partitions=PARTITIONS, replication_factor=1
        )
        self.jobs, self.journal, self.results = unique("jobs"), unique("journal"), unique("results")
        self.published: list[bytes] = []
        self.taken: list[bytes] = []
        self.consumers: list[Any] = []
        self.spoil: Callable[[Any], None] | None = None

    @asynccontextmanager
    async def open_consumer(self) -> AsyncIterator[Any]:
        async with running(make_consumer(self.settings), self.settings) as consumer:
            self.consumers.append(consumer)
            yield consumer

    async def publish(self) -> None:
        """Append a job to each partition."""
        async with running(make_producer(self.settings), self.settings) as producer:
            for partition in range(PARTITIONS):
                self.published.append(b"%d" % len(self.published))
                await producer.send_and_wait(self.jobs, self.published[-1], partition=partition)

    async def until_all_taken(self) -> None:
        """Come back when each job that was published was taken."""

        async def are_taken() -> bool:
            return len(set(self.taken)) == len(self.published)

        await until(are_taken, within=60, what=f"{len(self.published)} jobs")
        assert set(self.taken) == set(self.published)

    async def until_replaced(self) -> None:
        """Go on publishing until there is another consumer."""
        before = len(self.consumers)

        async def is_replaced() -> bool:
            await self.publish()
            return len(self.consumers) > before

        await until(is_replaced, within=60, what="another consumer")

    def receive(self, offsets: PartitionOffsets, records: Sequence[Any], _: int) -> None:
        for record in records:
            self.taken.append(record.value)
            offsets.settle(record.offset)
        if self.spoil is not None:
            self.spoil(self.consumers[-1])

    @asynccontextmanager
    async def intake(self, stop: asyncio.Event) -> AsyncIterator[asyncio.Task[None]]:
        settings = self.settings
        async with AsyncExitStack() as stack:
            admin = await stack.enter_async_context(running(make_admin(settings), settings))
            topics = [TopicSpec(name=name, partitions=PARTITIONS) for name in (self.jobs, self.journal, self.results)]
            await ensure_topics(admin, settings, topics)
            past, ends = [
                await stack.enter_async_context(running(make_consumer(settings, group=False), settings))
                for _ in range(2)
            ]
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            clock = SystemClock()
            intake = Intake(
                open_consumer=self.open_consumer,
                ends=ends.end_offsets,
                admin=admin,
                group_id=settings.group_id,
                priorities=[PriorityClass(name="bulk", topic=self.jobs, weight=1)],
                partitions=PARTITIONS,
                clock=clock,
                tasks=tasks,
                receive=self.receive,
                held=Held({}),
                written=lambda *_: 0,
                receive_parked=lambda *_: None,
                make_room=lambda: None,
                after_batch=lambda: None,
                drain=nothing,
                abandon=lambda: None,
                resume=nothing,
                positions=lambda _: ((0, 0), 0),
                history=History(
                    past,
                    clock,
                    journal=self.journal,
                    results=self.results,
                    partitions=PARTITIONS,
                    horizon=60.0,
                ),
                fence=Fence(11.0),
            )
            committing = tasks.create_task(intake.commit_regularly(), name="committer")
            yield tasks.create_task(intake.run(stop), name="intake")
            stop.set()
            committing.cancel()

    async def work_until_it_ends(self) -> None:
        """Publish as long as the intake works."""
        async with self.intake(asyncio.Event()) as intake:
            while not intake.done():
                await self.publish()
                await asyncio.sleep(0.5)


async def nothing(*_: Any) -> Any:
    pass


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_consumer, "LOOK_EVERY", LOOK_EVERY)


@pytest.fixture
def desk(kafka: str, unique: Callable[[str], str]) -> Desk:
    return Desk(kafka, unique)


def sentence_of(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, DispatcherError)
    return str(error)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_consumer_that_gets_stuck_is_replaced_and_every_job_comes(desk: Desk, fault: str) -> None:
    break_it, mechanism = FAULTS[fault]
    with capture_logs() as log:
        async with desk.intake(asyncio.Event()):
            await desk.publish()
            await desk.until_all_taken()
            break_it(desk.consumers[0])
            await desk.until_replaced()
            await desk.publish()
            await desk.until_all_taken()
    assert [line["because"] for line in log if line["event"] == "the consumer is replaced"] == [mechanism.value]
    assert len(desk.consumers) == 2
    if mechanism is not Mechanism.COMMITS:
        # Else nobody could commit what was settled: in the program, results tell the next owner.
        assert len(desk.taken) == len(desk.published)


async def test_when_another_consumer_does_not_help_the_sentence_says_what_stands_still(desk: Desk) -> None:
    desk.spoil, mechanism = FAULTS["fetching ends"]
    with pytest.raises(ExceptionGroup) as raised:
        await desk.work_until_it_ends()
    assert len(desk.consumers) == 2
    assert sentence_of(raised.value).startswith(mechanism.value)


@pytest.mark.slow
async def test_a_kafka_that_is_frozen_is_waited_for_and_one_that_restarts_too(unique: Callable[[str], str]) -> None:
    with capture_logs() as log, LocalKafka() as broker:
        desk = Desk(broker.address, unique)
        async with desk.intake(asyncio.Event()):
            await desk.publish()
            await desk.until_all_taken()
            assert broker.pid is not None
            os.kill(broker.pid, signal.SIGSTOP)
            await asyncio.sleep(3 * PATIENCE * LOOK_EVERY)
            os.kill(broker.pid, signal.SIGCONT)
            await desk.publish()
            await desk.until_all_taken()
            broker.kill()
            await asyncio.sleep(2 * PATIENCE * LOOK_EVERY)
            broker.start()
            await desk.publish()
            await desk.until_all_taken()
    assert len(desk.consumers) == 1
    assert not [line for line in log if line["event"] == "the consumer is replaced"]


async def test_whoever_has_nothing_to_do_is_left_alone(desk: Desk) -> None:
    """One more worker than partitions, and no jobs."""
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        for _ in range(PARTITIONS + 1):
            await stack.enter_async_context(desk.intake(stop))
        await asyncio.sleep(3 * PATIENCE * LOOK_EVERY)
        assert len(desk.consumers) == PARTITIONS + 1
