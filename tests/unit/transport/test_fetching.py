"""How aiokafka's own fetcher asks, when it is steered."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.subscription_state import SubscriptionState

from dispatcher.transport.fetching import GATHER_BYTES, GATHER_FOR, REST_FOR, steer

JOBS, PARKED = TopicPartition("jobs", 0), TopicPartition("parked", 0)


@pytest.fixture
async def consumer() -> AsyncIterator[Any]:
    """A consumer of two partitions, both of which are led by the same broker and have a position."""
    subscriptions = SubscriptionState()
    subscriptions.assign_from_user({JOBS, PARKED})
    for partition in (JOBS, PARKED):
        subscriptions.seek(partition, 0)
    cluster = SimpleNamespace(leader_for_partition=lambda _: 1)
    client: Any = SimpleNamespace(cluster=cluster, _loop=asyncio.get_running_loop(), _metadata_max_age_ms=1000)
    fetcher = cast(Any, Fetcher)(client, subscriptions)
    fetcher._fetch_task.cancel()  # it would ask by itself
    yield SimpleNamespace(_fetcher=fetcher, assignment=subscriptions.subscription.assignment)
    await fetcher.close()


def asked(consumer: Any) -> tuple[int, int, set[str]]:
    """Return how long Kafka would wait (ms), for how many bytes, and the topics that it would be asked for."""
    ((_, request),) = consumer._fetcher._get_actions_per_node(consumer.assignment)[0]
    return request._max_wait_ms, request._min_bytes, {topic for topic, _ in request._topics}


async def test_kafka_gathers_or_answers_at_once_as_it_was_last_told(consumer: Any) -> None:
    steer(consumer, gathers=True, without=set())
    assert asked(consumer) == (GATHER_FOR * 1000, GATHER_BYTES, {"jobs", "parked"})
    steer(consumer, gathers=False, without=set())
    assert asked(consumer) == (REST_FOR * 1000, 1, {"jobs", "parked"})


async def test_what_is_left_out_is_not_asked_for_until_it_is_no_more(consumer: Any) -> None:
    steer(consumer, gathers=True, without={PARKED})
    assert asked(consumer)[2] == {"jobs"}
    steer(consumer, gathers=True, without=set())
    assert asked(consumer)[2] == {"jobs", "parked"}


async def test_a_partition_that_is_paused_is_still_not_asked_for(consumer: Any) -> None:
    consumer.assignment.state_value(JOBS).pause()
    steer(consumer, gathers=True, without=set())
    assert asked(consumer)[2] == {"parked"}
