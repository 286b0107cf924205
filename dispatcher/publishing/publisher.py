"""Publishes a campaign: every row once, however often it is interrupted and begun again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal
from uuid import uuid4

import msgspec

from dispatcher.clock import Clock
from dispatcher.domain.campaign import Campaign
from dispatcher.domain.control import Begun
from dispatcher.domain.errors import DispatcherError, KafkaUnavailableError
from dispatcher.domain.job import Job
from dispatcher.domain.settings import Settings
from dispatcher.publishing.control import (
    ANSWER_TIMEOUT,
    SIGN_OF_LIFE,
    ControlTopic,
)
from dispatcher.publishing.partitioner import partition_of
from dispatcher.publishing.recipients import open_recipients
from dispatcher.publishing.resume import published_rows
from dispatcher.publishing.survey import Survey, content_rules, fingerprint
from dispatcher.transport.kafka import (
    KafkaError,
    TopicPartition,
    ensure_topics,
    make_admin,
    make_consumer,
    make_producer,
    running,
)
from dispatcher.transport.topics import topic

_ROWS_BETWEEN_REPORTS = 2000
# How often the loop turns until aiokafka has written a batch to its socket.
_TURNS_TO_WRITE = 4


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: records looked through, or rows published, of how many (0: nobody knows)."""

    stage: Literal["waiting", "looking", "publishing"]
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What was done: jobs *published* now and *found* in the topic from before, of so many *recipients*."""

    published: int
    found: int
    recipients: int

    @property
    def complete(self) -> bool:
        """Whether every recipient has a job in the topic."""
        return self.published + self.found == self.recipients


async def publish_campaign(
    campaign: Campaign,
    survey: Survey,
    settings: Settings,
    clock: Clock,
    *,
    stop: asyncio.Event,
    progress: Callable[[Progress], None],
    as_draft: bool = False,
) -> Publication:
    """Put a job for each recipient of *campaign* into its topic, in the order of the file, unless one is there.

    *survey* is of the same files. *as_draft*: nothing of it leaves until an operator resumes it. Ends early, and
    cleanly, when *stop* is set; calling it again goes on from there.
    `DispatcherError` when the files are not those the campaign was begun with, or another process is publishing it.
    """
    if fingerprint(campaign, settings.content) != survey.fingerprint:
        raise DispatcherError(f"{campaign.recipients} has changed since it was counted; run the command again")
    async with _connected(campaign, settings, clock, as_draft=as_draft) as publisher:
        return await publisher.run(survey, stop, progress)


@asynccontextmanager
async def _connected(
    campaign: Campaign, settings: Settings, clock: Clock, *, as_draft: bool
) -> AsyncIterator["_Publisher"]:
    """Connect to Kafka; its errors become `KafkaUnavailableError`."""
    kafka = settings.kafka
    try:
        async with AsyncExitStack() as stack:
            admin = await stack.enter_async_context(running(make_admin(kafka), kafka))
            await ensure_topics(
                admin,
                kafka,
                [
                    topic(settings, campaign.priority.topic),
                    topic(settings, settings.topics.control),
                ],
            )
            producer = await stack.enter_async_context(running(make_producer(kafka), kafka))
            consumers = [
                await stack.enter_async_context(running(make_consumer(kafka, group=False), kafka)) for _ in range(2)
            ]
            yield _Publisher(campaign, settings, clock, producer, *consumers, as_draft=as_draft)
    except KafkaError as error:
        raise KafkaUnavailableError(
            f"Kafka failed ({type(error).__name__}); nothing is lost: run the command again when it works"
        ) from error
    except TimeoutError as error:
        raise KafkaUnavailableError(
            f"Kafka did not answer for {ANSWER_TIMEOUT:.0f} s; nothing is lost: run the command again when it does"
        ) from error


class _Publisher:
    """One run: finds out what there is to do, does it, and says so in the control topic."""

    def __init__(
        self,
        campaign: Campaign,
        settings: Settings,
        clock: Clock,
        producer: Any,
        consumer: Any,
        control_consumer: Any,
        *,
        as_draft: bool,
    ) -> None:
        self._as_draft = as_draft
        self._campaign = campaign
        self._topic = campaign.priority.topic
        self._content = content_rules(settings.content, lambda _: None)
        self._partitions = settings.kafka.partitions
        self._clock = clock
        self._producer = producer
        self._consumer = consumer
        self._control = ControlTopic(
            producer,
            control_consumer,
            clock,
            topic=settings.topics.control,
            name=campaign.name,
            run=uuid4().hex,
        )
        # By partition: a batch on its way, and how many records it has.
        self._in_flight: dict[int, tuple[asyncio.Future[Any], int]] = {}
        self._acknowledged = 0

    async def run(self, survey: Survey, stop: asyncio.Event, progress: Callable[[Progress], None]) -> Publication:
        """Publish what is missing."""
        everything = Publication(published=0, found=survey.recipients, recipients=survey.recipients)
        await self._control.read()
        if self._is_published(survey):
            return everything
        if self._control.is_claimed:
            progress(Progress("waiting", 0, 0))
        await self._control.claim()
        # Another process may have finished while we waited.
        if self._is_published(survey):
            await self._control.release()
            return everything
        begun = self._begun()
        if begun is None:
            found = bytearray(survey.rows + 1)
            rate = self._campaign.rate
            await self._control.begin(
                await self._begin(survey),
                rate=str(rate) if rate else None,
                state="draft" if self._as_draft else "running",
            )
        else:
            found = await self._look(begun, progress)
        already = found.count(1)

        async def advance() -> None:
            await self._control.keep()
            progress(Progress("publishing", already + self._acknowledged, survey.recipients))

        await self._publish(found, stop, advance)
        publication = Publication(published=self._acknowledged, found=already, recipients=survey.recipients)
        if publication.complete:
            await self._control.finish()
        await self._control.release()
        return publication

    def _is_published(self, survey: Survey) -> bool:
        """Say whether there is nothing left to do; `DispatcherError` when it was begun with other files."""
        name, begun = self._campaign.name, self._begun()
        if begun is None:
            return False
        if begun.sha256 != survey.fingerprint:
            raise DispatcherError(
                f'the campaign "{name}" was begun on {begun.at:%Y-%m-%d %H:%M} UTC with another file, other '
                "recipients, or other rules for what a body must not hold (`content` of the config); put those back to "
                "go on, or give this one another name"
            )
        if begun.topic != self._topic:
            raise DispatcherError(
                f'the campaign "{name}" was begun in the topic {begun.topic}, and the config now says '
                f"{self._topic}; put that back to go on, or give this one another name"
            )
        return self._control.is_published

    def _begun(self) -> Begun | None:
        return self._control.record.begun if self._control.record is not None else None

    async def _begin(self, survey: Survey) -> Begun:
        campaign = self._campaign
        partitions = [TopicPartition(self._topic, partition) for partition in range(self._partitions)]
        ends = await self._consumer.end_offsets(partitions)
        return Begun(
            pool=campaign.pool,
            priority=campaign.priority.name,
            topic=self._topic,
            rows=survey.rows,
            recipients=survey.recipients,
            start_offsets={partition.partition: offset for partition, offset in ends.items()},
            sha256=survey.fingerprint,
            at=self._clock.now(),
            not_before=campaign.not_before,
            expires_at=campaign.expires_at,
        )

    async def _look(self, begun: Begun, progress: Callable[[Progress], None]) -> bytearray:
        async def advance(done: int, total: int) -> None:
            await self._control.keep()
            progress(Progress("looking", done, total))

        return await published_rows(
            self._consumer,
            self._clock,
            topic=self._topic,
            campaign=self._campaign.name,
            rows=begun.rows,
            start_offsets=begun.start_offsets,
            progress=advance,
        )

    async def _publish(self, found: bytearray, stop: asyncio.Event, advance: Callable[[], Awaitable[None]]) -> None:
        """Publish the rows that are not *found*, a batch at a time."""
        encode = msgspec.json.Encoder().encode
        batches = [self._producer.create_batch() for _ in range(self._partitions)]
        with open_recipients(self._campaign, self._content) as recipients:
            for row, job in recipients:
                if row % _ROWS_BETWEEN_REPORTS == 0:  # where most rows are there already, batches are rare
                    await advance()
                if found[row] or not isinstance(job, Job):
                    continue
                key, value = job.to.encode(), encode(job)
                partition = partition_of(key, self._partitions)
                if batches[partition].append(timestamp=None, key=key, value=value) is None:
                    await self._send(partition, batches[partition])
                    await advance()
                    if stop.is_set():
                        break
                    batches[partition] = self._producer.create_batch()
                    batches[partition].append(timestamp=None, key=key, value=value)
            else:
                for partition, batch in enumerate(batches):
                    await self._send(partition, batch)
        for partition in list(self._in_flight):
            await self._settle(partition)
            await advance()

    async def _send(self, partition: int, batch: Any) -> None:
        batch.close()
        if not batch.record_count():
            return
        # One at a time: what waited inside aiokafka would go out even after another process has taken over.
        await self._settle(partition)
        await self._control.keep()
        async with asyncio.timeout(ANSWER_TIMEOUT):
            future = await self._producer.send_batch(batch, self._topic, partition=partition)
        # Should another batch fail first, nobody asks for this one's fate.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._in_flight[partition] = future, batch.record_count()
        # Out with it while the claim is fresh: a process that is stopped here must not send it when it goes on.
        for _ in range(_TURNS_TO_WRITE):
            await asyncio.sleep(0)

    async def _settle(self, partition: int) -> None:
        """Wait until the broker has what was sent to *partition*."""
        if partition not in self._in_flight:
            return
        future, records = self._in_flight[partition]
        deadline = self._clock.monotonic() + ANSWER_TIMEOUT
        while not future.done():
            await asyncio.wait([future], timeout=SIGN_OF_LIFE)
            await self._control.keep()
            if self._clock.monotonic() > deadline:
                raise TimeoutError
        future.result()
        del self._in_flight[partition]
        self._acknowledged += records
