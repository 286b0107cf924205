"""From what recipients and Twilio say, through Kafka, to who must not be texted."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from dispatcher.clock import SystemClock
from dispatcher.domain.fleet import Pool
from dispatcher.domain.settings import KafkaSettings
from dispatcher.optouts.decide import Decider
from dispatcher.optouts.scribe import Scribe
from dispatcher.transport.kafka import TopicSpec, ensure_topics, make_admin, make_consumer, make_producer, running

pytestmark = pytest.mark.kafka

ANA, BEN, EVE = "+12065550142", "+12065550143", "+12065550144"


def inbound(number: str, word: str, second: int) -> tuple[bytes, bytes]:
    parameters = {"From": number, "To": "72345"}
    at = f"2026-11-24T18:00:{second:02d}.000+00:00"
    return number.encode(), orjson.dumps({"kind": "inbound", "received_at": at, "parameters": parameters, "word": word})


class Desk:
    """Topics of the test's own, and a scribe for them."""

    def __init__(self, kafka: str, unique: Callable[[str], str]) -> None:
        self.settings = KafkaSettings(bootstrap_servers=kafka, group_id=unique("optouts"), partitions=2)
        self.callbacks, self.results, self.topic = map(unique, ("callbacks", "results", "suppressions"))
        self.producer: Any = None
        self.failures: list[Exception] = []

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[tuple[Any, Any]]:
        if self.failures:
            raise self.failures.pop()
        async with (
            running(make_consumer(self.settings), self.settings) as consumer,
            running(make_producer(self.settings), self.settings) as producer,
        ):
            yield consumer, producer

    async def say(self, topic: str, *records: tuple[bytes, bytes]) -> None:
        for key, value in records:
            await self.producer.send_and_wait(topic, key=key, value=value)

    @asynccontextmanager
    async def scribe(self) -> AsyncIterator[None]:
        decider = Decider("global", [Pool(name="marketing", senders=("72345",))])
        scribe = Scribe(decider, SystemClock(), callbacks=self.callbacks, results=self.results, topic=self.topic)
        stop = asyncio.Event()
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            tasks.create_task(scribe.run(self.connect, stop))
            yield
            stop.set()

    async def read(self, count: int) -> list[tuple[str, str | None]]:
        """Return each key that was written, and the source of what was written to it; wait for *count* of them."""
        alone = replace(self.settings, group_id="nobody")
        found: list[tuple[str, str | None]] = []
        async with running(make_consumer(alone, group=False), alone) as consumer:
            partitions = [TopicPartition(self.topic, number) for number in range(2)]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            while len(found) < count:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += [
                        (record.key.decode(), orjson.loads(record.value)["source"] if record.value else None)
                        for record in records
                    ]
        return found


@pytest.fixture
async def desk(kafka: str, unique: Callable[[str], str]) -> AsyncIterator[Desk]:
    desk = Desk(kafka, unique)
    async with running(make_admin(desk.settings), desk.settings) as admin:
        topics = (desk.callbacks, desk.results, desk.topic)
        await ensure_topics(admin, desk.settings, [TopicSpec(name=name, partitions=2) for name in topics])
    async with running(make_producer(desk.settings), desk.settings) as producer:
        desk.producer = producer
        yield desk


async def test_what_recipients_and_twilio_say_is_written_and_read_once(desk: Desk) -> None:
    result = {"to": EVE, "at": "2026-11-24T18:00:00Z", "sender": "72345", "code": 21614, "status": "refused"}
    await desk.say(desk.callbacks, inbound(ANA, "stop", 1), (b"x", b"rubbish"), inbound(BEN, "stop", 1))
    await desk.say(desk.results, (b"m1", orjson.dumps(result)), (b"m2", b"{}"))
    async with desk.scribe():
        assert set(await desk.read(3)) == {(ANA, "STOP to 72345"), (BEN, "STOP to 72345"), (EVE, "error 21614")}
        await desk.say(desk.callbacks, inbound(ANA, "start", 2))
        assert (ANA, None) in await desk.read(4)
    # Another one goes on where the first has left: an old STOP comes not again.
    await desk.say(desk.callbacks, inbound(BEN, "start", 3))
    async with desk.scribe():
        written = await desk.read(5)
    assert len(written) == 5
    assert [source for key, source in written if key == ANA] == ["STOP to 72345", None]
    assert [source for key, source in written if key == BEN] == ["STOP to 72345", None]


async def test_a_kafka_that_is_away_is_waited_for(desk: Desk) -> None:
    desk.failures.append(KafkaConnectionError("gone"))
    await desk.say(desk.callbacks, inbound(ANA, "stop", 1))
    async with desk.scribe():
        assert await desk.read(1) == [(ANA, "STOP to 72345")]
    assert not desk.failures
