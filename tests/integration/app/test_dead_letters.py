"""`dispatcher dead-letters` against a real Kafka: found, shown, sent again, marked."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dispatcher.cli.root import app
from dispatcher.domain.settings import KafkaSettings
from dispatcher.transport.kafka import (
    TopicSpec,
    ensure_topics,
    make_admin,
    make_consumer,
    make_producer,
    running,
)
from dispatcher.transport.reading import read_through

pytestmark = pytest.mark.kafka
PARTITIONS = 2


class World:
    def __init__(self, path: Path, kafka: str, jobs: str, letters: str) -> None:
        self.config, self.jobs, self.letters = path, jobs, letters
        self.settings = KafkaSettings(bootstrap_servers=kafka, partitions=PARTITIONS)

    def run(self, *arguments: str, fails: bool = False) -> str:
        result = CliRunner().invoke(app, ["dead-letters", arguments[0], "-c", str(self.config), *arguments[1:]])
        assert (result.exception is not None) is fails, result.exception
        return result.stdout + (str(result.exception) if fails else "")

    async def make_topic(self) -> None:
        async with running(make_admin(self.settings), self.settings) as admin:
            await ensure_topics(admin, self.settings, [TopicSpec(name=self.jobs, partitions=PARTITIONS)])

    async def bury(
        self, reason: str, value: bytes, *, partition: int = 0, more: Sequence[tuple[str, bytes]] = ()
    ) -> None:
        headers = [("reason", reason.encode()), ("topic", self.jobs.encode()), ("partition", b"%d" % partition)]
        headers += [("offset", b"7"), ("at", b"2026-11-24T18:00:00.000+00:00"), *more]
        async with running(make_producer(self.settings), self.settings) as producer:
            await producer.send_and_wait(self.letters, value, key=b"+1", partition=partition, headers=headers)

    async def replayed(self) -> list[tuple[int, bytes, dict[str, bytes]]]:
        async with running(make_consumer(self.settings, group=False), self.settings) as consumer:
            return [
                (record.partition, record.value, dict(record.headers))
                async for record in read_through(consumer, self.jobs, PARTITIONS)
            ]


@pytest.fixture
def world(tmp_path: Path, kafka: str, unique: Callable[[str], str]) -> World:
    path, jobs, letters = tmp_path / "config.yaml", unique("jobs"), unique("letters")
    path.write_text(
        f"""
kafka: {{bootstrap_servers: "{kafka}", partitions: {PARTITIONS}}}
topics: {{dead_letters: "{letters}"}}
priorities: {{bulk: {{topic: "{jobs}", weight: 1}}}}
accounts: {{main: {{sid: AC00000000000000000000000000000001, auth_token: x}}}}
senders: [{{number: "72345", kind: short_code, account: main}}]
pools: {{all: {{senders: ["72345"]}}}}
""",
        encoding="utf-8",
    )
    built = World(path, kafka, jobs, letters)
    asyncio.run(built.make_topic())
    assert built.run("list") == "No dead letters\n"  # that makes the topic

    async def fill() -> None:
        await built.bury("the config has no pool 'otp'", b'{"id":"1"}')
        await built.bury("the record is not JSON", b"\xff{", partition=1)
        await built.bury("the config has no pool 'otp'", b'{"id":"2"}', partition=1)
        await built.bury("the config has no pool 'otp'", b"cut", more=[("truncated-from-bytes", b"99")])

    asyncio.run(fill())
    return built


def test_letters_are_listed_filtered_and_shown(world: World) -> None:
    assert len(world.run("list").splitlines()) == 4
    otp = [json.loads(line) for line in world.run("list", "--reason", "NO POOL", "--json").splitlines()]
    assert [letter["letter"] for letter in otp] == ["0/0", "0/1", "1/1"]
    assert len(world.run("list", "--limit", "2").splitlines()) >= 2
    assert "that fit" in world.run("list", "--since", "2026-11-24T18:00:01Z")
    assert "that fit" in world.run("list", "--topic", "elsewhere")
    shown = world.run("show", "1/0")
    assert "the record is not JSON" in shown
    assert "\\xff{" in shown
    assert "there is no dead letter 1/9" in world.run("show", "1/9", fails=True)
    assert "names no dead letter" in world.run("show", "x", fails=True)


def test_what_is_replayed_goes_where_it_came_from_marked_and_once(world: World) -> None:
    assert "Replayed: 1\n" in world.run("replay", "0/0")
    said = world.run("replay", "--all", "--reason", "no pool")
    assert "Replayed: 1\n" in said
    assert "replayed before: 1" in said
    assert "too large to be kept whole: 1" in said
    jobs = asyncio.run(world.replayed())
    assert [(value, headers["replayed-from"]) for _, value, headers in sorted(jobs, key=lambda job: job[1])] == [
        (b'{"id":"1"}', f"{world.letters}/0/0".encode()),
        (b'{"id":"2"}', f"{world.letters}/1/1".encode()),
    ]
    assert "(replayed)" in world.run("list")
    left = [json.loads(line)["letter"] for line in world.run("list", "--unreplayed", "--json").splitlines()]
    assert left == ["0/1", "1/0"]
    assert "Replayed: 1\n" in world.run("replay", "0/0", "--again")
    assert len(asyncio.run(world.replayed())) == 3


def test_a_replay_says_what_it_does_not_find_and_asks_what_is_meant(world: World) -> None:
    assert "there is no dead letter 0/99" in world.run("replay", "0/99", fails=True)
    assert "or say --all" in world.run("replay", fails=True)
    assert "or say --all" in world.run("replay", "0/0", "--all", fails=True)
