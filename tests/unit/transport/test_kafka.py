import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import AsyncMock

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError

from dispatcher.domain.errors import DispatcherError, KafkaUnavailableError
from dispatcher.domain.settings import KafkaSettings
from dispatcher.transport import kafka
from dispatcher.transport.kafka import RebalanceListener, TopicPartition, make_producer, running

SETTINGS = KafkaSettings(bootstrap_servers="127.0.0.1:9092")


@pytest.mark.parametrize(
    ("trouble", "seen"),
    [
        (KafkaConnectionError(), KafkaUnavailableError),
        (KafkaTimeoutError(), KafkaTimeoutError),
        (asyncio.CancelledError(), asyncio.CancelledError),
    ],
)
async def test_a_client_whose_start_fails_is_closed(trouble: BaseException, seen: type[BaseException]) -> None:
    client: Any = AsyncMock()
    client.start.side_effect = trouble
    with pytest.raises(seen):
        async with running(client, SETTINGS):
            raise AssertionError("it never ran")
    client.stop.assert_awaited_once()


async def test_a_client_is_closed_whatever_ends_its_use() -> None:
    client: Any = AsyncMock()
    with pytest.raises(KafkaConnectionError):
        async with running(client, SETTINGS):
            raise KafkaConnectionError
    client.stop.assert_awaited_once()


@pytest.mark.parametrize("is_answered", [True, False])
async def test_a_producer_pauses_after_it_asked_in_vain_for_leaders(
    monkeypatch: pytest.MonkeyPatch, *, is_answered: bool
) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(AIOKafkaClient, "_metadata_update", AsyncMock(return_value=is_answered))
    producer = make_producer(SETTINGS)
    monkeypatch.setattr(asyncio, "sleep", pause)
    assert await producer.client._metadata_update() is is_answered
    assert pauses == ([] if is_answered else [kafka.METADATA_PAUSE])
    monkeypatch.undo()
    await producer.stop()


async def hang() -> None:
    await asyncio.Event().wait()


async def cancel_itself() -> None:
    raise asyncio.CancelledError


async def break_down() -> None:
    raise KafkaConnectionError


@pytest.mark.parametrize("trouble", [hang, cancel_itself, break_down])
@pytest.mark.parametrize("part", ["consumer", "heartbeat", "group", "fetcher", "client"])
async def test_a_consumer_is_stopped_part_by_part_whatever_has_become_of_one(
    monkeypatch: pytest.MonkeyPatch, part: str, trouble: Callable[[], Awaitable[None]]
) -> None:
    """Above all its heartbeat: for that, the group would keep its partitions."""
    monkeypatch.setattr(kafka, "STOP_PATIENCE", 0.01)
    monkeypatch.setattr(kafka, "PART_PATIENCE", 0.01)
    consumer = AsyncMock(AIOKafkaConsumer)
    consumer._coordinator = AsyncMock(GroupCoordinator)
    consumer._fetcher, consumer._client = AsyncMock(), AsyncMock()
    parts = {
        "consumer": consumer.stop,
        "heartbeat": consumer._coordinator._stop_heartbeat_task,
        "group": consumer._coordinator._maybe_leave_group,
        "fetcher": consumer._fetcher.close,
        "client": consumer._client.close,
    }
    consumer.stop.side_effect = break_down
    parts[part].side_effect = trouble
    async with running(consumer, SETTINGS):
        pass
    assert [name for name, stop in parts.items() if stop.await_count != 1] == []


async def test_who_is_cancelled_while_a_consumer_stops_is_cancelled() -> None:
    consumer = AsyncMock(AIOKafkaConsumer)
    consumer.stop.side_effect = hang

    async def use() -> None:
        async with running(consumer, SETTINGS):
            pass

    async with asyncio.TaskGroup() as tasks:
        using = tasks.create_task(use())
        await asyncio.sleep(0)
        consumer.stop.assert_awaited_once()
        using.cancel()
    assert using.cancelled()


class Reactions:
    """What a listener calls: notes each call, and does what the test says."""

    def __init__(self, do: Callable[[], Awaitable[None]]) -> None:
        self.began: list[tuple[str, set[TopicPartition]]] = []
        self.ended = 0
        self.listener = RebalanceListener(self._reaction("revoked"), self._reaction("assigned"))
        self._do = do

    def _reaction(self, name: str) -> Callable[[Any], Any]:
        async def react(partitions: set[TopicPartition]) -> None:
            self.began.append((name, partitions))
            try:
                await self._do()
            finally:
                self.ended += 1

        return react

    async def call(self, name: str) -> None:
        """What aiokafka does."""
        call = {"revoked": self.listener.on_partitions_revoked, "assigned": self.listener.on_partitions_assigned}
        await call[name]([TopicPartition("jobs", 1)])


@pytest.mark.parametrize("error", [DispatcherError("somebody else joined"), ValueError("a bug"), TimeoutError()])
@pytest.mark.parametrize("name", ["revoked", "assigned"])
async def test_what_a_rebalance_call_raises_is_not_for_aiokafka(name: str, error: Exception) -> None:
    async def fail() -> None:
        raise error

    reactions = Reactions(fail)
    await reactions.call(name)
    with pytest.raises(type(error)) as raised:
        await reactions.listener.failure()
    assert raised.value is error
    assert reactions.began == [(name, {TopicPartition("jobs", 1)})]
    assert not reactions.listener.is_busy


@pytest.mark.parametrize("name", ["revoked", "assigned"])
async def test_a_listener_that_is_dismissed_breaks_off_and_hears_nothing_more(name: str) -> None:
    reactions = Reactions(hang)
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(reactions.call(name))
        await asyncio.sleep(0)
        assert reactions.listener.is_busy
        await reactions.listener.dismiss()
        assert reactions.ended == 1
        assert not reactions.listener.is_busy
        await call  # aiokafka's task goes on, and can leave the group
        await reactions.call("revoked")
        await reactions.call("assigned")
    assert len(reactions.began) == 1


async def test_a_listener_may_be_dismissed_at_rest() -> None:
    reactions = Reactions(AsyncMock())
    await reactions.call("assigned")
    await reactions.listener.dismiss()
    assert len(reactions.began) == 1
