import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.partitioner import DefaultPartitioner

from dispatcher.clock import SystemClock
from dispatcher.config.campaign_file import load_campaign
from dispatcher.config.load import load
from dispatcher.domain.campaign import Campaign
from dispatcher.domain.control import CampaignRecord
from dispatcher.domain.errors import DispatcherError, KafkaUnavailableError
from dispatcher.domain.job import Job
from dispatcher.domain.settings import Settings
from dispatcher.publishing.publisher import Progress, Publication, publish_campaign
from dispatcher.publishing.survey import survey

pytestmark = pytest.mark.kafka

PARTITIONS = 4
CONFIG = """\
kafka: {{bootstrap_servers: "{kafka}", partitions: {partitions}}}
topics: {{control: {control}}}
priorities: {{bulk: {{topic: {jobs}, weight: 1}}}}
accounts: {{main: {{sid: AC00000000000000000000000000000001, auth_token: token}}}}
senders: [{{number: "72345", kind: short_code, account: main}}]
pools: {{marketing: {{senders: ["72345"]}}}}
"""
CAMPAIGN = "campaign: spring\npool: marketing\ntemplate: Hi {{ name }}\nrate: 50/s\nrecipients: people.csv\n"


class World:
    """A config and a campaign in files, and a Kafka with topics of its own."""

    def __init__(self, folder: Path, kafka: str, unique: Callable[[str], str]) -> None:
        self.folder = folder
        self.kafka = kafka
        self.jobs, self.control = unique("jobs"), unique("control")
        self.config = folder / "config.yaml"
        self.config.write_text(CONFIG.format(kafka=kafka, partitions=PARTITIONS, jobs=self.jobs, control=self.control))
        self.campaign = folder / "spring.yaml"
        self.campaign.write_text(CAMPAIGN)

    @property
    def settings(self) -> Settings:
        return load(self.config, {})

    def invite(self, count: int, *, bad: tuple[int, ...] = ()) -> None:
        """Write so many recipients, of which those in the rows *bad* are no numbers."""
        rows = [f"{'nobody' if row in bad else number(row)},Ana {row}\n" for row in range(1, count + 1)]
        (self.folder / "people.csv").write_text("to,name\n" + "".join(rows))

    def load(self) -> Campaign:
        return load_campaign(self.campaign, self.settings, {})

    async def publish(self, *, stop_after: int | None = None, campaign: Campaign | None = None) -> Publication:
        """Publish; stop as Ctrl-C would when *stop_after* records were acknowledged."""
        campaign = campaign or self.load()
        stop = asyncio.Event()

        def progress(told: Progress) -> None:
            if stop_after is not None and told.stage == "publishing" and told.done >= stop_after:
                stop.set()

        return await publish_campaign(
            campaign,
            survey(campaign, lambda *_: None),
            self.settings,
            SystemClock(),
            stop=stop,
            progress=progress,
        )

    async def records(self, topic: str) -> list[Any]:
        """Read all of *topic*."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka, auto_offset_reset="earliest")
        await consumer.start()
        try:
            count = PARTITIONS if topic == self.jobs else 1
            partitions = [TopicPartition(topic, partition) for partition in range(count)]
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            found: list[Any] = []
            while [one for one in partitions if await consumer.position(one) < ends[one]]:
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    found += records
            return found
        finally:
            await consumer.stop()

    async def forget(self, count: int) -> None:
        """Drop the first jobs of a partition, as retention does."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka)
        await admin.start()
        try:
            await admin.delete_records({TopicPartition(self.jobs, 0): RecordsToDelete(before_offset=count)})
        finally:
            await admin.close()

    async def published(self) -> list[Job]:
        return [msgspec.json.decode(record.value, type=Job) for record in await self.records(self.jobs)]

    async def record(self) -> CampaignRecord:
        found = [one.value for one in await self.records(self.control) if one.key == b"campaign/spring"]
        return msgspec.json.decode(found[-1], type=CampaignRecord)

    async def is_published(self) -> bool:
        return any(one.key == b"published/spring" for one in await self.records(self.control))


def number(row: int) -> str:
    return f"+1206{row:07d}"


@pytest.fixture
def world(tmp_path: Path, kafka: str, unique: Callable[[str], str]) -> World:
    return World(tmp_path, kafka, unique)


async def test_every_recipient_gets_one_job_where_every_publisher_would_put_it(world: World) -> None:
    world.invite(5000, bad=(7, 4999))

    done = await world.publish()

    assert done == Publication(published=4998, found=0, recipients=4998)
    records = await world.records(world.jobs)
    jobs = {job.id: job for job in (msgspec.json.decode(record.value, type=Job) for record in records)}
    assert len(records) == len(jobs) == 4998
    assert jobs["spring-000042"] == Job(
        id="spring-000042", campaign="spring", to=number(42), pool="marketing", body="Hi Ana 42"
    )
    everywhere = list(range(PARTITIONS))
    for record in records:
        assert record.key == jobs[msgspec.json.decode(record.value)["id"]].to.encode()
        assert record.partition == DefaultPartitioner()(record.key, everywhere, everywhere)


async def test_one_recipients_jobs_are_in_the_order_of_the_file(world: World) -> None:
    (world.folder / "people.csv").write_text("to,name\n" + "".join(f"{number(row % 3)},{row}\n" for row in range(900)))

    await world.publish()

    by_recipient: dict[str, list[str]] = {}
    for job in await world.published():
        by_recipient.setdefault(job.to, []).append(job.id)
    assert all(ids == sorted(ids) for ids in by_recipient.values())


async def test_the_control_topic_says_what_was_begun_and_that_it_is_done(world: World) -> None:
    world.invite(3)
    await world.publish()

    record = await world.record()
    begun = record.begun
    assert begun is not None
    assert (begun.pool, begun.priority, begun.topic) == ("marketing", "bulk", world.jobs)
    assert (record.rate, begun.rows, begun.recipients, record.state) == ("50/s", 3, 3, "running")
    assert begun.start_offsets == dict.fromkeys(range(PARTITIONS), 0)
    assert begun.sha256 == survey(world.load(), lambda *_: None).fingerprint
    assert await world.is_published()


async def test_the_campaign_is_announced_before_its_first_job(world: World) -> None:
    world.invite(60_000)
    await world.publish(stop_after=1)

    announced = [one for one in await world.records(world.control) if one.key == b"campaign/spring"]
    first = min(record.timestamp for record in await world.records(world.jobs))
    assert announced[0].timestamp <= first
    assert not await world.is_published()


async def test_published_again_it_adds_nothing_even_when_the_topic_has_forgotten(world: World) -> None:
    world.invite(100)
    await world.publish()
    await world.forget(1)

    again = await world.publish()

    assert again == Publication(published=0, found=100, recipients=100)
    assert len(await world.published()) == 99


async def test_stopped_and_begun_again_every_row_is_there_once(world: World) -> None:
    world.invite(100_000)
    runs = [await world.publish(stop_after=1)]
    assert not runs[0].complete
    while not runs[-1].complete:
        runs.append(await world.publish(stop_after=runs[-1].published + runs[-1].found + 1))

    assert len(runs) > 2
    assert runs[-1].published + runs[-1].found == 100_000
    assert Counter(job.id for job in await world.published()) == Counter(
        f"spring-{row:06d}" for row in range(1, 100_001)
    )


async def test_killed_and_begun_again_every_row_is_there_once(world: World) -> None:
    world.invite(200_000)
    command = "import typer; from dispatcher.cli.publish import publish; typer.run(publish)"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", command, "-c", str(world.config), "--yes", str(world.campaign)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async for _ in arriving(world):
            break
    finally:
        process.kill()
        await process.wait()
    killed_after = len(await world.published())
    assert 0 < killed_after < 200_000
    assert not await world.is_published()

    done = await world.publish()

    assert done.complete
    assert done.found >= killed_after
    ids = Counter(job.id for job in await world.published())
    assert len(ids) == 200_000
    assert set(ids.values()) == {1}


async def arriving(world: World) -> AsyncIterator[Any]:
    """Yield the jobs as they come; the topic may have to be made first."""
    consumer = AIOKafkaConsumer(bootstrap_servers=world.kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(60):
            while world.jobs not in await consumer.topics():
                pass
            consumer.assign([TopicPartition(world.jobs, partition) for partition in range(PARTITIONS)])
            while True:
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    for record in records:
                        yield record
    finally:
        await consumer.stop()


async def test_of_many_that_publish_at_once_one_does_it(world: World) -> None:
    world.invite(20_000)
    outcomes: list[Publication | DispatcherError] = []

    async def run() -> None:
        try:
            outcomes.append(await world.publish())
        except DispatcherError as error:
            outcomes.append(error)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(run())

    # Whoever comes late may also find that all is done.
    for outcome in outcomes:
        if isinstance(outcome, DispatcherError):
            assert "another process is publishing" in str(outcome)
    assert sum(outcome.published for outcome in outcomes if isinstance(outcome, Publication)) == 20_000
    assert len(await world.published()) == 20_000


async def test_jobs_from_before_the_campaign_began_are_no_part_of_it(world: World) -> None:
    world.invite(60_000)
    await world.publish()
    async with producing(world) as producer:
        await producer.send_and_wait(world.control, key=b"campaign/spring", value=None, partition=0)

    runs = [await world.publish(stop_after=1), await world.publish()]

    assert not runs[0].complete
    assert sum(run.published for run in runs) == 60_000
    assert set(Counter(job.id for job in await world.published()).values()) == {2}


async def test_other_records_in_the_topic_are_left_alone_and_counted_for_nothing(world: World) -> None:
    world.invite(60_000)
    await world.publish(stop_after=1)
    job = {"id": "spring-000001", "campaign": "winter", "to": number(1), "pool": "marketing", "body": "Hi"}
    async with producing(world) as producer:
        for value in (b"no job", b"\xff", msgspec.json.encode(job), None):
            for partition in range(PARTITIONS):
                await producer.send_and_wait(world.jobs, key=b"x", value=value, partition=partition)

    done = await world.publish()

    assert done.complete
    assert done.published + done.found == 60_000
    assert len(await world.records(world.jobs)) == 60_000 + 4 * PARTITIONS


async def test_other_recipients_under_the_same_name_are_refused(world: World) -> None:
    world.invite(10)
    await world.publish()
    world.invite(11)

    with pytest.raises(DispatcherError, match=r'"spring" was begun on 20.* with another file, other recipients, or'):
        await world.publish()
    assert len(await world.published()) == 10


async def test_another_topic_under_the_same_name_is_refused(world: World) -> None:
    world.invite(10)
    await world.publish(stop_after=0)
    before = world.jobs
    world.config.write_text(world.config.read_text().replace(before, f"{before}-new"))

    with pytest.raises(DispatcherError, match=f"was begun in the topic {before}, and the config now says {before}-new"):
        await world.publish()


async def test_recipients_that_changed_since_they_were_counted_are_refused(world: World) -> None:
    world.invite(10)
    campaign = world.load()
    counted = survey(campaign, lambda *_: None)
    world.invite(11)

    with pytest.raises(DispatcherError, match=r"people\.csv has changed since it was counted"):
        await publish_campaign(
            campaign, counted, world.settings, SystemClock(), stop=asyncio.Event(), progress=lambda _: None
        )


async def test_a_topic_that_has_forgotten_is_not_taken_for_the_truth(world: World) -> None:
    world.invite(60_000)
    await world.publish(stop_after=1)
    await world.forget(10)

    with pytest.raises(DispatcherError, match="no longer holds all that was written since the campaign began"):
        await world.publish()


async def test_a_record_of_the_campaign_that_cannot_be_read_is_one_sentence(world: World) -> None:
    world.invite(10)
    await world.publish(stop_after=0)
    async with producing(world) as producer:
        await producer.send_and_wait(world.control, key=b"campaign/spring", value=b"[]", partition=0)

    with pytest.raises(
        DispatcherError, match=r'a record of the campaign "spring" that cannot be read \(Expected `object`'
    ):
        await world.publish()


async def test_without_kafka_it_is_one_sentence(world: World) -> None:
    world.invite(10)
    world.config.write_text(world.config.read_text().replace(world.kafka, "127.0.0.1:1"))

    with pytest.raises(KafkaUnavailableError, match=r"Kafka does not answer at 127\.0\.0\.1:1"):
        await world.publish()


@asynccontextmanager
async def producing(world: World) -> AsyncIterator[Any]:
    producer = AIOKafkaProducer(bootstrap_servers=world.kafka)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()
