"""How each topic is made, in one place: every program makes those that it reads and writes."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, NamedTuple

from aiokafka.errors import KafkaError

from dispatcher.domain.caps import CapRules
from dispatcher.domain.claims import RETENTION
from dispatcher.domain.errors import KafkaUnavailableError
from dispatcher.domain.parking import parked_topics
from dispatcher.domain.settings import Settings
from dispatcher.transport.kafka import (
    LARGEST_RECORD,
    TopicSpec,
    ensure_topics,
    make_admin,
    make_consumer,
    make_producer,
    running,
)

# A page is needed for as long as a job of it is unsettled: minutes.
JOURNAL_RETENTION: Final = str(24 * 3600 * 1000)


def topic(settings: Settings, name: str) -> TopicSpec:
    """Return how the topic called *name*, one of those that *settings* name, is made."""
    topics = settings.topics
    is_state_of_all = name in {topics.control, topics.senders, topics.alerts}
    config: dict[str, str] = {}
    if name == topics.caps:
        config["retention.ms"] = RETENTION
    elif is_state_of_all or name == topics.suppressions:
        config["cleanup.policy"] = "compact"
    elif name == topics.journal:
        config["retention.ms"] = JOURNAL_RETENTION
    elif name == topics.dead_letters or name in parked_topics(topics.parked):
        config["max.message.bytes"] = str(LARGEST_RECORD)  # they take what others wrote, with a header more
    is_one_order = is_state_of_all or name == topics.caps
    return TopicSpec(name=name, partitions=1 if is_one_order else settings.kafka.partitions, config=config)


def topics_of_worker(settings: Settings) -> list[TopicSpec]:
    """Return the topics that a worker reads and writes."""
    topics = settings.topics
    names = [
        *(priority.topic for priority in settings.priorities),
        topics.results,
        topics.journal,
        topics.callbacks,
        topics.dead_letters,
        topics.control,
        topics.senders,
        topics.suppressions,
        *parked_topics(topics.parked),
        *([topics.caps] if CapRules(settings.fleet) else []),
    ]
    return [topic(settings, name) for name in names]


def topics_of_tracker(settings: Settings) -> list[TopicSpec]:
    """Return the topics that a tracker reads and writes."""
    topics = settings.topics
    names = [
        topics.callbacks,
        topics.results,
        topics.deliveries,
        topics.senders,
        topics.alerts,
        topics.control,
        topics.suppressions,
    ]
    return [topic(settings, name) for name in names]


class Clients(NamedTuple):
    """What a command of an operator's works with; the consumer is of no group."""

    admin: Any
    producer: Any
    consumer: Any


@asynccontextmanager
async def open_topic(settings: Settings, name: str) -> AsyncIterator[Clients]:
    """Connect to Kafka for a command that works on the topic called *name*, which is there then.

    What Kafka's clients raise meanwhile becomes a `KafkaUnavailableError`.
    """
    kafka = settings.kafka
    try:
        async with AsyncExitStack() as stack:
            admin = await stack.enter_async_context(running(make_admin(kafka), kafka))
            await ensure_topics(admin, kafka, [topic(settings, name)])
            producer = await stack.enter_async_context(running(make_producer(kafka), kafka))
            consumer = await stack.enter_async_context(running(make_consumer(kafka, group=False), kafka))
            yield Clients(admin, producer, consumer)
    except KafkaError as error:
        raise KafkaUnavailableError(
            f"Kafka failed ({type(error).__name__}); run the command again when it works"
        ) from error
