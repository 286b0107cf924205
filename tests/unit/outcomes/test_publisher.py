"""What became of jobs is written before they count as settled, whatever Kafka does."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError

from dispatcher.domain.fence import Fence
from dispatcher.outcomes.publisher import KEPT_OF_TOO_LARGE, TICK, Publisher, Record
from tests.clock import FakeClock
from tests.unit.pacing.making import Desk

RESULTS, LETTERS = "dispatch.results", "dispatch.dead-letters"


@dataclass
class Written:
    """A batch as the producer was given it, and the acknowledgement that the test has to give."""

    topic: str
    partition: int
    records: list[tuple[bytes | None, bytes, list[tuple[str, bytes]]]]
    future: "asyncio.Future[Any]"
    timestamps: list[int | None]

    def values(self) -> list[bytes]:
        return [value for _, value, _ in self.records]

    def acknowledge(self, base: int = 0) -> None:
        self.future.set_result(type("Metadata", (), {"offset": base})())


@dataclass
class Batch:
    room: int
    is_closed: bool = False
    timestamps: list[int | None] = field(default_factory=list)
    records: list[tuple[bytes | None, bytes, list[tuple[str, bytes]]]] = field(default_factory=list)

    def close(self) -> None:
        self.is_closed = True

    def append(
        self, *, timestamp: int | None, key: bytes | None, value: bytes, headers: Sequence[tuple[str, bytes]]
    ) -> object | None:
        assert isinstance(headers, list), "aiokafka's C extension takes nothing else"
        self.timestamps.append(timestamp)
        # Like aiokafka: the first always fits.
        if self.records and sum(len(value) for _, value, _ in self.records) + len(value) > self.room:
            return None
        self.records.append((key, value, headers))
        return object()


class Producer:
    """aiokafka's producer, as far as it is used; *refuse* is raised by the next `send_batch`."""

    def __init__(self) -> None:
        self.room = 1000
        self.batches: list[Written] = []
        self.refuse: KafkaError | None = None

    def create_batch(self) -> Batch:
        return Batch(self.room)

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> "asyncio.Future[Any]":
        assert batch.records, "nobody sends an empty batch"
        assert batch.is_closed, "aiokafka would wait for more"
        await asyncio.sleep(0)
        if self.refuse is not None:
            refuse, self.refuse = self.refuse, None
            raise refuse
        future = asyncio.get_running_loop().create_future()
        self.batches.append(Written(topic, partition, batch.records, future, batch.timestamps))
        return future

    @property
    def last(self) -> Written:
        return self.batches[-1]


class Press:
    """A publisher that runs, with its clock, its producer and its fence."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.producer = Producer()
        self.fence = Fence(lease=inf)
        self.fence.renew(clock.monotonic())
        self.publisher = Publisher(self.producer, clock, self.fence)
        self.desks = [Desk(partition=partition) for partition in range(3)]
        self.retries: list[Any] = []

    def add(
        self, value: bytes = b"{}", *, partition: int = 0, offset: int = 0, topic: str = RESULTS, key: bytes = b"k"
    ) -> None:
        self.publisher.add(topic, Record(key, value, [], self.desks[partition], offset))

    async def settle_down(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def tick(self, seconds: float = TICK) -> None:
        """Let the publisher wake, wait for its tick and write."""
        await self.settle_down()
        self.clock.advance(seconds)
        await self.settle_down()

    async def retry(self) -> None:
        """The pause after a failure is over."""
        for callback, arguments in self.retries:
            callback(*arguments)
        self.retries.clear()
        await self.tick()


@pytest.fixture
async def press(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Press]:
    press = Press(clock)
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(
        loop, "call_later", lambda _delay, callback, *arguments: press.retries.append((callback, arguments))
    )
    bugs: list[Any] = []
    loop.set_exception_handler(lambda _loop, context: bugs.append(context))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(press.publisher.run(), name="publisher")
        yield press
        running.cancel()
    assert not bugs, "an exception in a callback ends the process"


async def is_flushed(press: Press) -> bool:
    await press.settle_down()
    flushed = press.publisher.flushed()
    try:
        flushed.send(None)
    except StopIteration:
        return True
    flushed.close()
    return False


async def test_a_job_is_settled_when_kafka_has_its_outcome_and_not_before(press: Press) -> None:
    press.add(offset=7)
    assert not press.producer.batches, "it waits for others of its tick"
    await press.tick()
    assert press.producer.last.records == [(b"k", b"{}", [])]
    assert press.desks[0].settled == []
    press.producer.last.acknowledge(base=41)
    await press.settle_down()
    assert press.desks[0].settled == [7]
    assert press.publisher.ends == {(RESULTS, 0): 42}


async def test_what_comes_within_a_tick_goes_out_together_in_its_order_by_partition(press: Press) -> None:
    for offset in range(6):
        press.add(b"%d" % offset, partition=offset % 2, offset=offset)
    press.add(b"letter", partition=1, offset=9, topic=LETTERS)
    await press.tick()
    batches = {(batch.topic, batch.partition): batch.values() for batch in press.producer.batches}
    assert batches == {
        (RESULTS, 0): [b"0", b"2", b"4"],
        (RESULTS, 1): [b"1", b"3", b"5"],
        (LETTERS, 1): [b"letter"],
    }


async def test_there_is_one_batch_in_flight_a_partition(press: Press) -> None:
    press.add(b"first", offset=0)
    await press.tick()
    press.add(b"second", offset=1)
    press.add(b"other", offset=0, partition=1)
    await press.tick()
    assert [batch.values() for batch in press.producer.batches] == [[b"first"], [b"other"]]
    press.producer.batches[0].acknowledge()
    await press.tick()
    assert press.producer.last.values() == [b"second"]


async def test_what_one_batch_cannot_hold_goes_with_the_next(press: Press) -> None:
    press.producer.room = 10
    for offset in range(5):
        press.add(b"four", offset=offset)
    written = []
    for _ in range(3):
        await press.tick()
        written.append(len(press.producer.last.records))
        press.producer.last.acknowledge()
    assert written == [2, 2, 1]
    assert await is_flushed(press)
    assert press.desks[0].settled == list(range(5))


@pytest.mark.parametrize("when", ["when it is sent", "when it is written"])
async def test_what_kafka_does_not_take_is_written_again_in_its_order(press: Press, when: str) -> None:
    if when == "when it is sent":
        press.producer.refuse = KafkaConnectionError()
    for offset in range(3):
        press.add(b"%d" % offset, offset=offset)
    await press.tick()
    press.add(b"3", offset=3)
    if when == "when it is written":
        press.producer.last.future.set_exception(KafkaConnectionError())
        await press.settle_down()
    before = len(press.producer.batches)
    await press.tick(0.5)
    assert len(press.producer.batches) == before, "not at once"
    assert press.desks[0].settled == []
    assert not await is_flushed(press)
    await press.retry()
    assert press.producer.last.values() == [b"0", b"1", b"2", b"3"]
    press.producer.last.acknowledge()
    assert await is_flushed(press)
    assert press.desks[0].settled == [0, 1, 2, 3]


async def test_a_partition_that_fails_does_not_hold_up_another(press: Press) -> None:
    press.add(b"bad", partition=0)
    await press.tick()
    press.producer.last.future.set_exception(KafkaConnectionError())
    await press.settle_down()
    press.add(b"good", partition=1)
    await press.tick()
    press.producer.last.acknowledge()
    await press.settle_down()
    assert press.desks[1].settled == [0]


async def test_flushed_comes_back_when_everything_is_safe(press: Press) -> None:
    assert await is_flushed(press), "nothing was added"
    press.add(partition=0)
    assert not await is_flushed(press)
    await press.tick()
    press.add(partition=0, offset=1)
    press.producer.last.acknowledge()
    assert not await is_flushed(press), "one still waits"
    await press.tick()
    press.producer.last.acknowledge()
    assert await is_flushed(press)


async def test_a_record_that_its_topic_is_too_small_for_is_shortened(press: Press) -> None:
    press.add(b"x" * 1_000_000, topic=LETTERS, key=b"k" * 1_000_000)
    await press.tick()
    press.producer.last.future.set_exception(MessageSizeTooLargeError())
    await press.settle_down()
    await press.retry()
    [(key, value, headers)] = press.producer.last.records
    assert value == b"x" * KEPT_OF_TOO_LARGE
    assert key == b"k" * KEPT_OF_TOO_LARGE
    assert headers == [("truncated-from-bytes", b"1000000")]
    press.producer.last.acknowledge()
    await press.settle_down()
    assert press.desks[0].settled == [0]


async def test_records_that_are_too_large_together_go_in_smaller_batches_and_whole(press: Press) -> None:
    """The topic was made with a limit below that of our batches."""
    for offset in range(5):
        press.add(b"%d" % offset, offset=offset)
    for _ in range(20):
        await press.tick()
        if await is_flushed(press):
            break
        batch = press.producer.last
        if batch.future.done():
            await press.retry()
        elif len(batch.records) > 2:
            batch.future.set_exception(MessageSizeTooLargeError())
        else:
            batch.acknowledge()
    assert press.desks[0].settled == [0, 1, 2, 3, 4]
    written = [batch.values() for batch in press.producer.batches if not batch.future.exception()]
    assert [value for values in written for value in values] == [b"0", b"1", b"2", b"3", b"4"]


async def test_nothing_is_written_while_the_fence_is_closed(press: Press) -> None:
    press.fence.close()
    press.add()
    for _ in range(3):
        await press.tick()
    assert not press.producer.batches
    press.fence.renew(press.clock.monotonic())
    await press.tick()
    assert len(press.producer.batches) == 1


async def test_what_is_forgotten_is_not_written(press: Press) -> None:
    press.add()
    press.publisher.forget()
    assert await is_flushed(press)
    await press.tick()
    assert not press.producer.batches


async def test_forgetting_while_batches_are_being_sent_stops_the_rest_of_them(press: Press) -> None:
    for partition in range(3):
        press.add(partition=partition)
    await asyncio.sleep(0)
    press.clock.advance(TICK)
    for _ in range(10):
        await asyncio.sleep(0)
        if press.producer.batches:
            break
    press.publisher.forget()
    await press.tick()
    assert 1 <= len(press.producer.batches) < 3
    for batch in press.producer.batches:
        batch.acknowledge()
    assert await is_flushed(press)


async def test_forgetting_while_kafka_fails_leaves_nothing_to_wait_for(press: Press) -> None:
    press.add()
    await press.tick()
    press.producer.last.future.set_exception(KafkaConnectionError())
    await press.settle_down()
    press.publisher.forget()
    await press.retry()
    assert len(press.producer.batches) == 1
    assert await is_flushed(press)


async def test_what_kafka_refused_of_a_partition_that_has_gone_is_not_written_again(press: Press) -> None:
    press.add(partition=0)
    await press.tick()
    press.desks[0].is_owned = False
    press.producer.last.future.set_exception(KafkaConnectionError())
    await press.settle_down()
    await press.retry()
    assert len(press.producer.batches) == 1
    assert await is_flushed(press)


@pytest.mark.parametrize("when", ["before it was written", "after Kafka had refused it"])
@pytest.mark.parametrize("gone", [{0}, {1}, {2}, {0, 2}, {0, 1, 2}])
async def test_nothing_is_written_of_a_partition_that_has_gone_meanwhile(
    press: Press, gone: set[int], when: str
) -> None:
    for partition in range(3):
        press.add(b"%d" % partition, partition=partition, offset=partition)
    if when == "after Kafka had refused it":
        await press.tick()
        for batch in press.producer.batches:
            batch.future.set_exception(KafkaConnectionError())
        await press.settle_down()
        press.producer.batches.clear()
    for partition in gone:
        press.desks[partition].is_owned = False
    await press.retry()
    assert {batch.partition for batch in press.producer.batches} == {0, 1, 2} - gone
    for batch in press.producer.batches:
        batch.acknowledge()
    assert await is_flushed(press)


async def test_of_one_batch_what_is_of_a_former_assignment_is_left_out(press: Press) -> None:
    """The partition went and came back: what was concluded before is another's business, what was since is ours."""
    former = Desk(partition=0)
    former.is_owned = False
    for offset in range(4):
        press.publisher.add(RESULTS, Record(b"k", b"%d" % offset, [], (former, press.desks[0])[offset % 2], offset))
    await press.tick()
    assert press.producer.last.values() == [b"1", b"3"]
    press.producer.last.acknowledge()
    await press.settle_down()
    assert (former.settled, press.desks[0].settled) == ([], [1, 3])


async def test_a_producer_that_is_closed_settles_nothing(press: Press) -> None:
    press.add()
    await press.tick()
    press.producer.last.future.cancel()
    await press.settle_down()
    assert press.desks[0].settled == []


async def test_a_record_is_of_the_moment_that_it_says(press: Press) -> None:
    for timestamp in (None, 1_764_000_000_000):
        press.publisher.add(RESULTS, Record(b"k", b"{}", [], press.desks[0], 0, timestamp))
    await press.tick()
    assert press.producer.last.timestamps == [None, 1_764_000_000_000]
    press.producer.last.acknowledge()
