"""What is read of deliveries, what is published for them, and when it counts as read."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from dispatcher.domain.delivery import Delivery
from dispatcher.domain.fleet import Pool, Redelivery
from dispatcher.domain.job import Job
from dispatcher.tracking.redeliverer import Clients, Redeliverer
from tests.clock import FakeClock

JOBS = TopicPartition("campaign.jobs", 3)
POOLS = {
    "marketing": Pool(name="marketing", senders=("72345",), retry_undelivered=Redelivery()),
    "alerts": Pool(name="alerts", senders=("72345",), retry_undelivered=Redelivery(codes=(30017,))),
    "otp": Pool(name="otp", senders=("72345",)),
}


class Kafka:
    """The deliveries, the jobs, and what is published; *log* is what happened in which order."""

    def __init__(self, stop: asyncio.Event) -> None:
        self.deliveries: list[bytes] = []
        self.jobs: list[bytes] = []
        self.begins = 0
        self.published: list[tuple[str, int, bytes, Job]] = []
        self.log: list[str] = []
        self.fail = False
        self._stop = stop
        self._committed = 0
        self._at = 0
        self._seek = 0

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Clients]:
        self._at = self._committed
        yield Clients(
            SimpleNamespace(subscribe=lambda _: None, getmany=self._deliver, commit=self._commit),
            self,
            SimpleNamespace(send=self._send),
        )

    async def _deliver(self, **_: Any) -> Mapping[TopicPartition, list[Any]]:
        values, self._at = self.deliveries[self._at :], len(self.deliveries)
        if not values:
            self._stop.set()
            return {}
        offset = len(self.deliveries) - len(values)
        return {
            TopicPartition("dispatch.deliveries", 0): [
                SimpleNamespace(offset=offset + number, value=value) for number, value in enumerate(values)
            ]
        }

    async def _commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if self.fail:
            self.fail = False
            raise KafkaConnectionError
        (self._committed,) = offsets.values()
        self.log.append("committed")

    async def _send(self, topic: str, *, key: bytes, value: bytes, partition: int) -> "asyncio.Future[None]":
        self.published.append((topic, partition, key, msgspec.json.decode(value, type=Job)))
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def acknowledge() -> None:
            self.log.append("acknowledged")
            acknowledged.set_result(None)

        asyncio.get_running_loop().call_soon(acknowledge)
        return acknowledged

    # As the reader of jobs.

    def assign(self, partitions: Collection[TopicPartition]) -> None:
        assert list(partitions) == [JOBS]

    async def beginning_offsets(self, _: Any) -> dict[TopicPartition, int]:
        return {JOBS: self.begins}

    async def end_offsets(self, _: Any) -> dict[TopicPartition, int]:
        return {JOBS: len(self.jobs)}

    def seek(self, _partition: TopicPartition, offset: int) -> None:
        self._seek = offset

    async def getmany(self, partition: TopicPartition, **_: Any) -> dict[TopicPartition, list[Any]]:
        return {partition: [SimpleNamespace(offset=self._seek, value=self.jobs[self._seek])]}

    def deliver(self, pool: str = "marketing", status: str = "undelivered", code: int | None = 30003) -> None:
        """A message of *pool* came to *status*."""
        number = len(self.jobs)
        job = Job(id=f"spring-{number}", campaign="spring", to=f"+1206555{number:04}", pool=pool, body="Hi")
        self.jobs.append(msgspec.json.encode(job))
        delivery = Delivery(
            id=job.id, campaign="spring", to=job.to, sender="72345", account="main", carrier=None, sid="SM1",
            status=status, before="sent", code=code, segments=1, at="2026-11-24T18:00:00.000+00:00", by="callback",
            job=f"{JOBS.topic}/{JOBS.partition}/{number}",
        )  # fmt: skip
        self.deliveries.append(msgspec.json.encode(delivery))


@pytest.fixture
def stop() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
def kafka(stop: asyncio.Event) -> Kafka:
    return Kafka(stop)


async def follow(kafka: Kafka, clock: FakeClock, stop: asyncio.Event) -> None:
    redeliverer = Redeliverer(POOLS, clock, deliveries="dispatch.deliveries", horizon=600.0)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(redeliverer.run(kafka.connect, stop), name="redeliverer")
        while not running.done():
            await asyncio.sleep(0)
            clock.advance(0.1)


async def test_an_undelivered_message_is_published_again_beside_its_first_job(
    kafka: Kafka, clock: FakeClock, stop: asyncio.Event
) -> None:
    kafka.deliver()
    await follow(kafka, clock, stop)
    [(topic, partition, key, job)] = kafka.published
    assert (topic, partition, key, job.id) == (*JOBS, b"+12065550000", "spring-0~2")
    assert kafka.log == ["acknowledged", "committed"]


@pytest.mark.parametrize(
    "what",
    [
        {"status": "delivered", "code": None},
        {"code": 30007},
        {"code": 30005},
        {"code": 21610},
        {"code": None},
        {"pool": "otp"},
        {"pool": "alerts"},
        {"pool": "dropped"},
    ],
)
async def test_nothing_else_is(kafka: Kafka, clock: FakeClock, stop: asyncio.Event, what: dict[str, Any]) -> None:
    kafka.deliver(**what)
    await follow(kafka, clock, stop)
    assert not kafka.published
    assert kafka.log == ["committed"]


async def test_a_job_that_kafka_has_dropped_and_a_record_that_is_none_hold_nothing_up(
    kafka: Kafka, clock: FakeClock, stop: asyncio.Event
) -> None:
    kafka.deliver()
    kafka.begins = 1
    kafka.deliveries.append(b"garbage")
    kafka.deliver()
    await follow(kafka, clock, stop)
    assert [job.id for *_, job in kafka.published] == ["spring-1~2"]


async def test_after_a_crash_the_same_is_published_and_nothing_is_left_out(
    kafka: Kafka, clock: FakeClock, stop: asyncio.Event
) -> None:
    kafka.deliver()
    kafka.deliver()
    kafka.fail = True
    await follow(kafka, clock, stop)
    published = [job for *_, job in kafka.published]
    assert published[:2] == published[2:]
    assert {job.id for job in published} == {"spring-0~2", "spring-1~2"}
    assert kafka.log[-1] == "committed"
