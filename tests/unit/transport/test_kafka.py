import asyncio
from typing import Any
from unittest.mock import AsyncMock

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError

from dispatcher.domain.errors import KafkaUnavailableError
from dispatcher.domain.settings import KafkaSettings
from dispatcher.transport import kafka
from dispatcher.transport.kafka import make_producer, running

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
