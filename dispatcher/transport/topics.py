"""How each topic is made, in one place: every program makes those that it reads and writes."""

from typing import Final

from dispatcher.domain.parking import parked_topics
from dispatcher.domain.settings import Settings
from dispatcher.transport.kafka import LARGEST_RECORD, TopicSpec

# A page is needed for as long as a job of it is unsettled: minutes.
JOURNAL_RETENTION: Final = str(24 * 3600 * 1000)


def topic(settings: Settings, name: str) -> TopicSpec:
    """Return how the topic called *name*, one of those that *settings* name, is made."""
    topics = settings.topics
    is_state_of_all = name in {topics.control, topics.senders, topics.alerts}
    config: dict[str, str] = {}
    if is_state_of_all or name == topics.suppressions:
        config["cleanup.policy"] = "compact"
    elif name == topics.journal:
        config["retention.ms"] = JOURNAL_RETENTION
    elif name == topics.dead_letters or name in parked_topics(topics.parked):
        config["max.message.bytes"] = str(LARGEST_RECORD)  # they take what others wrote, with a header more
    return TopicSpec(name=name, partitions=1 if is_state_of_all else settings.kafka.partitions, config=config)


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
