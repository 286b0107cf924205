"""A worker that may no longer write does not, whatever its producer still holds."""

import asyncio
import socket
import struct
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.produce import ProduceRequest

from dispatcher.transport import fenced_producer
from dispatcher.transport.fenced_producer import FencedProducer, WriteRefusedError
from tests.clock import FakeClock

PRODUCE = ProduceRequest(transactional_id=None, required_acks=-1, timeout=1000, topics=[])


class Connection:
    """As aiokafka's, with itself for a writer, a transport and a socket."""

    def __init__(self) -> None:
        self._writer = self.transport = self
        self.options: list[Any] = []
        self.is_cut_off = asyncio.Event()

    def get_extra_info(self, _name: str) -> "Connection":
        return self

    def setsockopt(self, *option: Any) -> None:
        self.options.append(option)

    def abort(self) -> None:
        self.is_cut_off.set()


class Client:
    def __init__(self) -> None:
        self.written: list[Any] = []
        self.answers = True
        self.connection = Connection()
        self._conns = {(0, None): self.connection}

    async def ready(self, _node: int, *, group: Any) -> bool:
        del group
        return True

    async def send(self, _node: int, request: Any, *, group: Any) -> None:
        del group
        self.written.append(request)
        if not self.answers:
            await self.connection.is_cut_off.wait()
            raise KafkaConnectionError


class Producer:
    """What aiokafka's does as far as it matters: a batch that is sent goes out by the client."""

    def __init__(self) -> None:
        self.client = Client()
        self.is_running = False

    async def start(self) -> None:
        self.is_running = True

    async def stop(self) -> None:
        self.is_running = False

    async def send_batch(self, _batch: Any, _topic: str, *, partition: int) -> None:
        await self.client.send(partition, PRODUCE, group=None)


class Kafka:
    """Makes producers, and says whether they may write."""

    def __init__(self) -> None:
        self.made: list[Producer] = []
        self.is_open = True

    def make(self) -> Producer:
        self.made.append(Producer())
        return self.made[-1]

    @property
    def written(self) -> list[int]:
        return [len(producer.client.written) for producer in self.made]


async def test_what_may_not_be_written_now_is_held_back_and_goes_on_by_the_same_producer(clock: FakeClock) -> None:
    kafka = Kafka()
    producer = FencedProducer(kafka.make, lambda: kafka.is_open, clock)
    await producer.start()
    kafka.is_open = False
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(producer.send_batch(None, "results", partition=0))
        await asyncio.sleep(0)
        clock.advance(60)
        await asyncio.sleep(0)
        assert kafka.written == [0]
        kafka.is_open = True
        clock.advance(1)
    assert kafka.written == [1]


async def test_what_is_given_up_is_never_written_and_another_producer_goes_on(clock: FakeClock) -> None:
    kafka = Kafka()
    producer = FencedProducer(kafka.make, lambda: kafka.is_open, clock)
    await producer.start()
    producer.give_up()
    with pytest.raises(WriteRefusedError):  # what the producer had in hand
        await kafka.made[0].client.send(0, PRODUCE, group=None)
    await producer.send_batch(None, "results", partition=0)
    assert kafka.written == [0, 1]
    assert [made.is_running for made in kafka.made] == [False, True]


@pytest.mark.parametrize("ended_by", ["the lease", "giving up"])
async def test_what_is_on_its_way_when_nothing_may_be_written_any_more_is_cut_off(
    ended_by: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fenced_producer, "LOOK_EVERY", 0.0)
    kafka = Kafka()
    producer = FencedProducer(kafka.make, lambda: kafka.is_open, clock)
    client = kafka.made[0].client
    client.answers = False

    async def is_cut_off() -> None:
        with pytest.raises(KafkaConnectionError):
            await producer.send_batch(None, "results", partition=0)

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(is_cut_off())
        for _ in range(10):
            await asyncio.sleep(0)
        assert kafka.written == [1]
        assert not client.connection.is_cut_off.is_set()
        if ended_by == "the lease":
            kafka.is_open = False
        else:
            producer.give_up()


async def test_a_connection_that_holds_a_batch_is_reset_when_the_process_dies(clock: FakeClock) -> None:
    kafka = Kafka()
    await FencedProducer(kafka.make, lambda: True, clock).send_batch(None, "results", partition=0)
    not_at_all = struct.pack("ii", 1, 0)
    assert kafka.made[0].client.connection.options == [(socket.SOL_SOCKET, socket.SO_LINGER, not_at_all)]


async def test_what_is_no_batch_passes_always(clock: FakeClock) -> None:
    kafka = Kafka()
    FencedProducer(kafka.make, lambda: False, clock)
    await kafka.made[0].client.send(0, "metadata", group=None)
    assert kafka.written == [1]
