"""What is missing in Kafka for any of the programs is named."""

from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from pathlib import Path

import pytest

from benchmarks.stage import until
from dispatcher.app.doctor import examine_world
from dispatcher.clock import SystemClock
from dispatcher.config.load import load
from dispatcher.domain.settings import Settings
from dispatcher.domain.topics import Topics
from dispatcher.transport.kafka import TopicSpec, ensure_topics, make_admin, running
from dispatcher.transport.topics import topics_of_tracker, topics_of_worker

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(tmp_path: Path, kafka: str, unique: Callable[[str], str]) -> Settings:
    name = unique("doctor")
    topics = "".join(f"  {topic.name}: {name}.{topic.name}\n" for topic in fields(Topics))
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""
kafka: {{bootstrap_servers: "{kafka}", partitions: 1, create_topics: false}}
topics:
{topics}
priorities: {{bulk: {{topic: {name}.bulk, weight: 1}}}}
accounts: {{main: {{sid: AC00000000000000000000000000000001, auth_token: x}}}}
senders: [{{number: "72345", kind: short_code, account: main}}]
pools: {{all: {{senders: ["72345"]}}}}
""",
        encoding="utf-8",
    )
    return load(path, {})


async def trouble_with_kafka(settings: Settings) -> str:
    async for finding in examine_world(settings, SystemClock()):
        assert finding.subject.startswith("Kafka at ")
        return finding.trouble
    raise AssertionError


async def make(settings: Settings, topics: Iterable[TopicSpec]) -> None:
    kafka = replace(settings.kafka, create_topics=True)
    async with running(make_admin(kafka), kafka) as admin:
        await ensure_topics(admin, kafka, list(topics))


async def test_the_topics_of_workers_and_of_the_tracker_are_looked_for(settings: Settings) -> None:
    # What was made is not seen at once.
    async def are_missing(names: set[str]) -> bool:
        trouble = await trouble_with_kafka(settings)
        return trouble == (
            f"topics are missing and create_topics is false: {', '.join(sorted(names))}" if names else ""
        )

    await make(settings, topics_of_worker(settings))
    of_tracker = {settings.topics.deliveries, settings.topics.alerts}
    await until(lambda: are_missing(of_tracker), within=30, what="that only the tracker's are missing")
    await make(settings, topics_of_tracker(settings))
    await until(lambda: are_missing(set()), within=30, what="that none are missing")
