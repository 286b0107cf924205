"""Opens, configures and closes the Kafka clients; the only place that knows aiokafka's settings.

The values are measured ones; what each guards against stands in ARCHITECTURE.md, "Kafka".
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.helpers import create_ssl_context

from dispatcher.domain.errors import DispatcherError, KafkaUnavailableError
from dispatcher.domain.fleet import Secret
from dispatcher.domain.settings import KafkaSettings

SESSION_TIMEOUT = 15.0
REBALANCE_TIMEOUT = 30.0
METADATA_PAUSE = 0.5
# A dead letter carries a record of up to the default 1 MB and the headers that say why.
LARGEST_RECORD = 2 * 1024 * 1024
_SSL_FILES = {
    "ssl_cafile": "cafile",
    "ssl_certfile": "certfile",
    "ssl_keyfile": "keyfile",
    "ssl_password": "password",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """A topic that has to be there."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)


def make_consumer(settings: KafkaSettings, *, group: bool = True, client_id: str = "dispatcher") -> Any:
    """Return a consumer that is not started: of the group, or (*group* False) of partitions it is told."""
    return AIOKafkaConsumer(
        **_connection(settings),
        client_id=client_id,
        group_id=settings.group_id if group else None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        partition_assignment_strategy=(RangePartitionAssignor,),
        session_timeout_ms=int(SESSION_TIMEOUT * 1000),
        heartbeat_interval_ms=2000,
        rebalance_timeout_ms=int(REBALANCE_TIMEOUT * 1000),
        request_timeout_ms=40000,
        max_poll_interval_ms=300000,
        fetch_max_wait_ms=100,
        max_partition_fetch_bytes=262144,
    )


def make_producer(settings: KafkaSettings, *, client_id: str = "dispatcher") -> Any:
    """Return an idempotent producer that is not started."""
    producer = AIOKafkaProducer(
        **_connection(settings),
        client_id=client_id,
        enable_idempotence=True,
        acks="all",
        linger_ms=2,
        max_batch_size=262144,
        max_request_size=LARGEST_RECORD,
        request_timeout_ms=15000,
    )
    _ask_patiently(producer.client)
    return producer


def make_admin(settings: KafkaSettings) -> Any:
    """Return an admin client that is not started."""
    return AIOKafkaAdminClient(**_connection(settings), client_id="dispatcher-admin")


@asynccontextmanager
async def running(client: Any, settings: KafkaSettings) -> AsyncIterator[Any]:
    """Start *client* and stop it at the end; `KafkaUnavailableError` when Kafka does not answer."""
    close = client.close if isinstance(client, AIOKafkaAdminClient) else client.stop
    try:
        try:
            await client.start()
        except KafkaConnectionError as error:
            raise KafkaUnavailableError(
                f"Kafka does not answer at {settings.bootstrap_servers}; start it (`dispatcher broker` runs one for "
                "development) or correct kafka.bootstrap_servers"
            ) from error
        yield client
    finally:
        await close()


async def ensure_topics(admin: Any, settings: KafkaSettings, wanted: Iterable[TopicSpec]) -> None:
    """Create what is missing of *wanted*; `DispatcherError` names a topic with another partition count."""
    missing = await topics_to_make(admin, wanted)
    if missing and not settings.create_topics:
        names = ", ".join(spec.name for spec in missing)
        raise DispatcherError(f"Kafka has no topic {names}; create it or set kafka.create_topics to true")
    if missing:
        answer = await admin.create_topics([_new_topic(spec, settings) for spec in missing])
        for name, code, *detail in answer.topic_errors:
            # Two processes that start at once both find a topic missing; the second one's refusal is fine.
            if code not in {0, TopicAlreadyExistsError.errno}:
                raise DispatcherError(
                    f"Kafka refuses to create the topic {name} ({detail[0] if detail else for_code(code).__name__}); "
                    "create it yourself and set kafka.create_topics to false"
                )


async def topics_to_make(admin: Any, wanted: Iterable[TopicSpec]) -> list[TopicSpec]:
    """Return those of *wanted* that are missing; `DispatcherError` names a topic with another partition count."""
    # All topics are asked for: naming one that is missing would make a broker with auto-creation create it.
    described = {topic["topic"]: topic for topic in await admin.describe_topics([spec.name for spec in wanted])}
    missing = []
    for spec in wanted:
        found = len(described.get(spec.name, {}).get("partitions", ()))
        if not found:
            missing.append(spec)
        elif found != spec.partitions:
            raise DispatcherError(
                f"the topic {spec.name} has {found} partitions and the config says {spec.partitions}; "
                "rates are split by partition, so set kafka.partitions to what the topics have, or make new topics"
            )
    return missing


def _new_topic(spec: TopicSpec, settings: KafkaSettings) -> NewTopic:
    topic = NewTopic(
        name=spec.name, num_partitions=spec.partitions, replication_factor=1, topic_configs=dict(spec.config)
    )
    # -1 asks for the broker's default; the constructor refuses it, the protocol does not (KIP-464).
    topic.replication_factor = settings.replication_factor or -1
    return topic


async def committed(admin: Any, group_id: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Any]:
    """Return the committed offset and metadata of each of *partitions* that has one.

    `AIOKafkaConsumer.committed` hides the metadata, so this asks the admin client.
    """
    answer = await admin.list_consumer_group_offsets(group_id, partitions=list(partitions))
    return {partition: found for partition, found in answer.items() if found.offset >= 0}


class RebalanceListener(ConsumerRebalanceListener):
    """Hands aiokafka's two rebalance calls to two coroutines."""

    def __init__(self, revoked: Callable[[Any], Any], assigned: Callable[[Any], Any]) -> None:
        self._revoked = revoked
        self._assigned = assigned

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Called before a rebalance, with what this consumer had."""
        await self._revoked(set(revoked))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Called after it, with what this consumer has now."""
        await self._assigned(set(assigned))


def _ask_patiently(client: Any) -> None:
    """Let *client* pause after it asked in vain who leads a partition.

    A broker that shuts down properly says before that its partitions have no leader. aiokafka's sender then asks for a
    new one without a pause, thousands of times a second while nobody answers.
    """
    ask = client._metadata_update  # noqa: SLF001 - there is no setting for it

    async def ask_and_pause(*arguments: Any) -> bool:
        is_answered = bool(await ask(*arguments))
        if not is_answered:
            await asyncio.sleep(METADATA_PAUSE)
        return is_answered

    client._metadata_update = ask_and_pause  # noqa: SLF001 - same


def _connection(settings: KafkaSettings) -> dict[str, Any]:
    """Return aiokafka's keyword arguments for the way to the broker."""
    security: dict[str, Any] = {
        name: value.reveal() if isinstance(value, Secret) else value for name, value in settings.security.items()
    }
    files = {argument: security.pop(name) for name, argument in _SSL_FILES.items() if name in security}
    if security.get("security_protocol", "PLAINTEXT").endswith("SSL"):
        security["ssl_context"] = create_ssl_context(**files)
    return {"bootstrap_servers": settings.bootstrap_servers.split(","), **security}


__all__ = [
    "LARGEST_RECORD",
    "REBALANCE_TIMEOUT",
    "SESSION_TIMEOUT",
    "KafkaError",
    "RebalanceListener",
    "TopicPartition",
    "TopicSpec",
    "committed",
    "ensure_topics",
    "make_admin",
    "make_consumer",
    "make_producer",
    "running",
    "topics_to_make",
]
