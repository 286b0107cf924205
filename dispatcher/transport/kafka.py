"""Opens, configures and closes the Kafka clients; the only place that knows aiokafka's settings.

The values are measured ones; what each guards against stands in ARCHITECTURE.md, "Kafka".
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaConnectionError,
    KafkaError,
    NotCoordinatorForGroupError,
    TopicAlreadyExistsError,
    for_code,
)
from aiokafka.helpers import create_ssl_context
from aiokafka.protocol.admin import DeleteGroupsRequest

from dispatcher.domain.errors import DispatcherError, KafkaUnavailableError
from dispatcher.domain.fleet import Secret
from dispatcher.domain.settings import KafkaSettings
from dispatcher.transport.fetching import GATHER_BYTES, GATHER_FOR

log = structlog.get_logger()

SESSION_TIMEOUT = 15.0
REBALANCE_TIMEOUT = 30.0
# Nobody waits for a record that comes by itself any longer than it takes to come: Kafka answers at once when there is
# one. But whatever else a consumer asks for waits until its fetch is answered. Seconds.
READ_FOR = 0.1
FOLLOW_FOR = 0.5
METADATA_PAUSE = 0.5
# A Kafka that never had a group makes the topic of all groups when it is first asked about one. Seconds.
FIRST_GROUP_WITHIN = 15.0
# A consumer gets so long to end its requests and leave the group, and then each of its parts.
STOP_PATIENCE = 8.0
PART_PATIENCE = 1.0
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


def make_consumer(
    settings: KafkaSettings, *, group: bool = True, follows: bool = False, client_id: str = "dispatcher"
) -> Any:
    """Return a consumer that is not started: of the group, or (*group* False) of partitions it is told.

    One that *follows* asks Kafka seldom while nothing comes; it should not be asked where partitions end.
    """
    longest = GATHER_FOR if group else FOLLOW_FOR if follows else READ_FOR
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
        fetch_max_wait_ms=int(longest * 1000),
        fetch_min_bytes=GATHER_BYTES if group else 1,
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
    if isinstance(client, AIOKafkaConsumer):
        close = partial(_stop, client)
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


async def _stop(consumer: Any) -> None:
    """Stop *consumer* in bounded time, though it may hang or have died in part.

    Its own `stop` waits for every task of it, raises what one has died of, and then leaves the others running: the
    heartbeat among them, for which the group would keep the partitions of a consumer that nobody reads.
    """
    if await _ends(consumer.stop, STOP_PATIENCE):
        return
    log.warning("a consumer did not stop as it should; its parts are stopped one by one")
    group, fetcher, client = consumer._coordinator, consumer._fetcher, consumer._client  # noqa: SLF001 - `stop` is all there is
    if isinstance(group, GroupCoordinator):
        await _ends(group._stop_heartbeat_task, PART_PATIENCE)  # noqa: SLF001 - same
        await _ends(group._maybe_leave_group, PART_PATIENCE)  # noqa: SLF001 - same
    if fetcher is not None:
        await _ends(fetcher.close, PART_PATIENCE)
    await _ends(client.close, PART_PATIENCE)


async def _ends(stop: Callable[[], Awaitable[None]], within: float) -> bool:
    """Say whether *stop* ends in so many seconds, and well."""
    task = asyncio.current_task()
    try:
        async with asyncio.timeout(within):
            await stop()
    except (TimeoutError, KafkaError) as error:
        log.debug("a part of a consumer did not stop", error=repr(error))
    except asyncio.CancelledError:
        # aiokafka also raises it when not we but a task of its own was cancelled.
        if task is None or task.cancelling():
            raise
    else:
        return True
    return False


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


async def delete_group(admin: Any, group_id: str) -> None:
    """Let Kafka forget what the group committed; it has to have no members, or Kafka refuses and nothing happens."""
    coordinator = await admin.find_coordinator(group_id)
    await admin._send_request_to_node(coordinator, DeleteGroupsRequest([group_id]))  # noqa: SLF001 - no call for it


async def group_members(admin: Any, group_id: str) -> set[str]:
    """Return the client ids of the members of a group; none when nobody is in it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + FIRST_GROUP_WITHIN
    while True:
        try:
            return await _members(admin, group_id)
        except (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError):
            if loop.time() > deadline:
                raise
            await asyncio.sleep(METADATA_PAUSE)


async def _members(admin: Any, group_id: str) -> set[str]:
    (answer,) = await admin.describe_consumer_groups([group_id])
    found = set()
    for code, _, _, _, _, members, *_ in answer.groups:
        if code:
            raise for_code(code)
        found |= {client_id for _, client_id, *_ in members}
    return found


def fetches_next(consumer: Any, partition: TopicPartition) -> int | None:
    """Return the offset from which *consumer* reads on in *partition*; None while it does not know, or has it not.

    Unlike `AIOKafkaConsumer.position` it never waits, for what may never come.
    """
    if partition not in consumer.assignment():
        return None
    state = consumer._subscription.subscription.assignment.state_value(partition)  # noqa: SLF001 - see above
    return int(state.position) if state.has_valid_position else None


class RebalanceListener(ConsumerRebalanceListener):
    """Hands aiokafka's two rebalance calls to two coroutines, until it is dismissed.

    What these raise aiokafka would log, and go on; here `failure` raises it.
    """

    def __init__(self, revoked: Callable[[Any], Any], assigned: Callable[[Any], Any]) -> None:
        self._revoked = revoked
        self._assigned = assigned
        self._is_dismissed = False
        self._call: asyncio.Timeout | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._failed = asyncio.Event()
        self._failure: Exception | None = None

    @property
    def is_busy(self) -> bool:
        """Whether partitions are being handed over now."""
        return not self._idle.is_set()

    async def failure(self) -> None:
        """Raise what a call raises, as soon as one does."""
        await self._failed.wait()
        if self._failure is not None:
            raise self._failure

    async def dismiss(self) -> None:
        """Break off a call that is under way, and let no other come."""
        self._is_dismissed = True
        if self._call is not None:
            self._call.reschedule(0.0)  # the loop's time is past that: it ends now
        await self._idle.wait()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Called before a rebalance, with what this consumer had."""
        await self._pass_on(self._revoked, revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Called after it, with what this consumer has now."""
        await self._pass_on(self._assigned, assigned)

    async def _pass_on(self, react: Callable[[Any], Any], partitions: Iterable[TopicPartition]) -> None:
        if self._is_dismissed:
            return
        self._idle.clear()
        try:
            async with asyncio.timeout(None) as self._call:
                await react(set(partitions))
        except Exception as error:  # noqa: BLE001 - whatever it is, `failure` raises it where it ends the process
            # A `TimeoutError` after the dismissal is the breaking off itself, and nobody asks for others any more.
            self._failure = error
            self._failed.set()
        finally:
            self._call = None
            self._idle.set()


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
    "delete_group",
    "ensure_topics",
    "fetches_next",
    "group_members",
    "make_admin",
    "make_consumer",
    "make_producer",
    "running",
    "topics_to_make",
]
