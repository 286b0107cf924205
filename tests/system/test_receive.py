"""Nothing that Twilio was told is kept gets lost: killed, stopped, full, or without Kafka."""

import asyncio
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

import orjson
import pytest

from benchmarks.callers import Callers
from benchmarks.stage import MAIN, Process, Stage, free_port, job, open_stage, until
from dispatcher.broker import jars
from dispatcher.broker.local_kafka import LocalKafka
from dispatcher.domain.errors import DispatcherError

pytestmark = [pytest.mark.kafka, pytest.mark.system]

RATE = 300


@pytest.fixture
def broker() -> Iterator[LocalKafka]:
    """A Kafka of the test's own, which may be stopped."""
    try:
        jars.find_java()
        jars.fetch()
    except DispatcherError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    with LocalKafka() as running:
        yield running


class Reception:
    """A stage for a receiver, and who calls it."""

    def __init__(self, stage: Stage, callers: Callers) -> None:
        self.stage = stage
        self.callers = callers
        self._metrics = f"http://{stage.config['webhooks']['metrics_listen']}"

    async def open(self, name: str) -> Process:
        """Start a receiver; come back when it takes callbacks."""
        process = await self.stage.start("receive", "-c", str(self.stage.config_file), name=name)
        await self.stage._answers(process, f"{self._metrics}/readyz")
        return process

    async def metric(self, name: str) -> float:
        """Return the sum of a metric's series."""
        async with self.stage.http.get(f"{self._metrics}/metrics") as response:
            lines = (await response.text()).splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    async def is_all_in_kafka(self) -> bool:
        """Whether the disk holds nothing any more."""
        return await self.metric("dispatcher_spool_records") == 0

    async def mids(self) -> Counter[str]:
        """Return how often each id is in the topic."""
        records = await self.stage.read(self.stage.config["topics"]["callbacks"])
        return Counter(orjson.loads(record.value)["mid"] for record in records)


@asynccontextmanager
async def reception(
    folder: Path, kafka: str, *, sections: Mapping[str, Any] = MappingProxyType({}), **webhooks: Any
) -> AsyncIterator[Reception]:
    address = f"127.0.0.1:{free_port()}"
    section = {
        "public_url": f"http://{address}",
        "listen": address,
        "metrics_listen": f"127.0.0.1:{free_port()}",
        "spool": str(folder / "spool"),
        **webhooks,
    }
    async with open_stage(folder, kafka, webhooks=section, **sections) as stage:
        callers = Callers(section["public_url"], MAIN)
        yield Reception(stage, callers)
        callers.close()


def ids(count: int) -> list[str]:
    return [f"m{number:05d}" for number in range(count)]


async def test_every_message_that_a_worker_sends_is_heard_of(kafka: str, tmp_path: Path) -> None:
    sections = {
        "senders": [{"number": "72345", "kind": "short_code", "account": "main", "rate": "1000/s"}],
        "simulator": {"callbacks": True},
    }
    async with reception(tmp_path, kafka, sections=sections) as desk:
        stage = desk.stage
        topic = stage.config["topics"]["callbacks"]
        await desk.open("receiver")
        await stage.start_simulator()
        await stage.start_worker()
        await stage.publish(job("spring", row, "marketing") for row in range(500))
        results = await stage.wait_for_results(500, within=60)

        async def all_were_called_back() -> bool:
            return await stage.count(topic) == 1000

        await until(all_were_called_back, within=60, what="1,000 callbacks")
        callbacks = [orjson.loads(record.value) for record in await stage.read(topic)]
        assert Counter((one["mid"], one["sid"]) for one in callbacks) == {(one["id"], one["sid"]): 2 for one in results}
        assert {one["attempt"] for one in callbacks} == {1}


@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_at_any_moment_it_has_kept_what_it_has_answered(kafka: str, tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    async with reception(tmp_path, kafka) as desk, asyncio.TaskGroup() as tasks:
        receiver = await desk.open("receiver-0")
        calling = tasks.create_task(desk.callers.call(ids(12 * RATE), rate=RATE))
        for kills in range(1, 4):
            await asyncio.sleep(rng.uniform(0.5, 2.0))
            await receiver.kill()
            receiver = await desk.open(f"receiver-{kills}")
        await calling
        await until(desk.is_all_in_kafka, within=30, what="an empty disk")
        assert await receiver.stop() == 0
        found = await desk.mids()
        assert len(desk.callers.kept) > 2 * RATE
        assert desk.callers.kept <= found.keys()


async def test_killed_while_kafka_is_frozen_it_has_kept_what_it_has_answered(
    broker: LocalKafka, tmp_path: Path
) -> None:
    assert broker.pid is not None
    async with reception(tmp_path, broker.address) as desk, asyncio.TaskGroup() as tasks:
        receiver = await desk.open("receiver-0")
        calling = tasks.create_task(desk.callers.call(ids(12 * RATE), rate=RATE))
        await asyncio.sleep(1.0)
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(2.0)
            assert not await desk.is_all_in_kafka()
            await receiver.kill()
            receiver = await desk.open("receiver-1")
            await asyncio.sleep(2.0)
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        await calling
        await until(desk.is_all_in_kafka, within=60, what="an empty disk")
        assert await receiver.stop() == 0
        found = await desk.mids()
        assert len(desk.callers.kept) > 2 * RATE
        assert desk.callers.kept <= found.keys()


async def test_kafka_stopped_for_seconds_loses_nothing_and_doubles_nothing(broker: LocalKafka, tmp_path: Path) -> None:
    mids = ids(15 * RATE)
    async with reception(tmp_path, broker.address) as desk, asyncio.TaskGroup() as tasks:
        receiver = await desk.open("receiver")
        calling = tasks.create_task(desk.callers.call(mids, rate=RATE))
        await asyncio.sleep(2.0)
        await asyncio.to_thread(broker.stop)
        await asyncio.sleep(5.0)
        assert await desk.metric("dispatcher_spool_records") > 3 * RATE
        await asyncio.to_thread(broker.start)
        await calling
        await until(desk.is_all_in_kafka, within=60, what="an empty disk")
        assert await receiver.stop() == 0
        assert not desk.callers.refused
        assert await desk.mids() == dict.fromkeys(mids, 1)
        # Nor does a Kafka that is away fill the log.
        assert len(receiver.log.read_text(encoding="utf-8").splitlines()) < 1000


@pytest.mark.slow
async def test_kafka_killed_for_a_minute_and_the_receiver_within_it_lose_nothing_and_count_nothing_twice(
    broker: LocalKafka, tmp_path: Path
) -> None:
    rate, mids = 500, ids(75 * 500)
    async with reception(
        tmp_path,
        broker.address,
        sections={
            "tracking": {"database": str(tmp_path / "view.sqlite"), "metrics_listen": f"127.0.0.1:{free_port()}"}
        },
    ) as desk:
        stage = desk.stage
        async with asyncio.TaskGroup() as tasks:
            receiver = await desk.open("receiver-0")
            calling = tasks.create_task(desk.callers.call(mids, rate=rate))
            await asyncio.sleep(5.0)
            await asyncio.to_thread(broker.kill)
            await asyncio.sleep(30.0)
            await receiver.kill()
            receiver = await desk.open("receiver-1")
            await asyncio.sleep(30.0)
            assert await desk.metric("dispatcher_spool_records") > 45 * rate
            await asyncio.to_thread(broker.start)
            await calling
        await until(desk.is_all_in_kafka, within=120, what="an empty disk")
        assert await receiver.stop() == 0
        found = await desk.mids()
        assert desk.callers.kept <= found.keys()
        # Nobody is refused but who called in the moment without a receiver.
        assert len(desk.callers.refused) < 10 * rate
        # What was on its way when Kafka died may be there twice: the receiver that could have told was killed.
        doubled = [mid for mid, times in found.items() if times > 1]
        assert len(doubled) < rate
        assert max(doubled, default="") < mids[10 * rate]

        tracker = await stage.start("track", "-c", str(stage.config_file), name="tracker")
        await stage._answers(tracker, f"http://{stage.config['tracking']['metrics_listen']}/healthz")
        result = {
            "campaign": "spring",
            "to": "+12065550142",
            "status": "accepted",
            "sender": "72345",
            "account": "main",
        }
        at = datetime.now(UTC).isoformat(timespec="milliseconds")  # noqa: TID251 - the test's own
        await stage.append(
            stage.config["topics"]["results"],
            (
                (mid, orjson.dumps({"id": mid, "sid": f"SM{mid:>032}", "segments": 1, "at": at, **result}))
                for mid in mids
            ),
        )
        counted: dict[str, int] = {}

        async def is_read() -> bool:
            with closing(sqlite3.connect(f"file:{tmp_path / 'view.sqlite'}?mode=ro", uri=True)) as view:
                counted.update(view.execute("SELECT status, sum(messages) FROM counts GROUP BY 1"))
            return sum(counted.values()) == len(mids) and counted.get("delivered", 0) >= len(found)

        await until(is_read, within=120, what="all that is in Kafka in the view")
        assert counted["delivered"] == len(found)
        assert await tracker.stop() == 0
        told = Counter(record.key.decode() for record in await stage.read(stage.config["topics"]["deliveries"]))
        assert told == dict.fromkeys(found, 1)


async def test_a_full_disk_is_said_and_nothing_that_was_kept_is_lost(broker: LocalKafka, tmp_path: Path) -> None:
    async with reception(tmp_path, broker.address, spool_size="1MiB") as desk:
        receiver = await desk.open("receiver")
        await asyncio.to_thread(broker.stop)
        await desk.callers.call(ids(3000), rate=1000)
        assert await desk.metric("dispatcher_webhook_answers_total") == 3000
        assert len(desk.callers.kept) > 1000
        assert len(desk.callers.refused) > 1000
        kept = set(desk.callers.kept)
        await asyncio.to_thread(broker.start)
        await until(desk.is_all_in_kafka, within=60, what="an empty disk")
        # Twilio sends again what was refused.
        again = sorted(desk.callers.refused)
        desk.callers.refused.clear()
        await desk.callers.call(again, rate=RATE)
        assert not desk.callers.refused
        assert await receiver.stop() == 0
        found = await desk.mids()
        assert {mid: found[mid] for mid in kept} == dict.fromkeys(kept, 1)
        assert found.keys() == set(ids(3000))


async def test_asked_to_stop_it_answers_who_has_called_and_leaves_nothing_on_disk(kafka: str, tmp_path: Path) -> None:
    async with reception(tmp_path, kafka) as desk, asyncio.TaskGroup() as tasks:
        receiver = await desk.open("receiver")
        calling = tasks.create_task(desk.callers.call(ids(4 * RATE), rate=RATE))
        await asyncio.sleep(2.0)
        assert await receiver.stop() == 0
        await calling
        assert "stopped; every callback is in Kafka" in receiver.log.read_text(encoding="utf-8")
        found = await desk.mids()
        assert found == dict.fromkeys(desk.callers.kept, 1)
        assert len(desk.callers.kept) > RATE


async def test_asked_to_stop_without_kafka_it_leaves_and_says_what_is_on_disk(tmp_path: Path, kafka: str) -> None:
    async with reception(tmp_path, kafka) as desk:
        desk.stage.config["kafka"]["bootstrap_servers"] = f"127.0.0.1:{free_port()}"
        desk.stage.write_config()
        receiver = await desk.open("receiver-0")
        await desk.callers.call(ids(100), rate=RATE)
        assert len(desk.callers.kept) == 100
        assert await receiver.stop() == 0
        log = receiver.log.read_text(encoding="utf-8")
        assert '"callbacks":100' in log
        assert "the next receiver with this webhooks.spool sends them" in log
        desk.stage.config["kafka"]["bootstrap_servers"] = kafka
        desk.stage.write_config()
        receiver = await desk.open("receiver-1")
        await until(desk.is_all_in_kafka, within=30, what="an empty disk")
        assert await receiver.stop() == 0
        assert await desk.mids() == dict.fromkeys(ids(100), 1)


async def test_two_receivers_do_not_share_a_disk(kafka: str, tmp_path: Path) -> None:
    async with reception(tmp_path, kafka) as desk:
        await desk.open("receiver")
        second = await desk.stage.start("receive", "-c", str(desk.stage.config_file), name="second")
        assert await second.process.wait() == 2
        log = second.log.read_text(encoding="utf-8")
        assert log.startswith("dispatcher: another process keeps its callbacks in ")
        assert "Traceback" not in log


async def test_a_config_without_webhooks_is_refused_with_a_sentence(kafka: str, tmp_path: Path) -> None:
    async with open_stage(tmp_path, kafka) as stage:
        receiver = await stage.start("receive", "-c", str(stage.config_file), name="receiver")
        assert await receiver.process.wait() == 2
        said = receiver.log.read_text(encoding="utf-8")
        assert said == "dispatcher: the config does not say where Twilio calls; add webhooks.public_url to it\n"
