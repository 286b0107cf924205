"""What tracking says of every message is what became of it, whatever happened to callbacks and to the tracker."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from benchmarks.stage import Process, Stage, free_port, job, open_stage, until

pytestmark = [pytest.mark.kafka, pytest.mark.system]

FAULTS = {"duplicate": "5%", "reorder": "10%", "loss": "2%", "early": "1%", "forged": "1%"}
# What a forged callback claims.
LIE = 30002


class Round:
    """A stage with everything on it that a message's way and the way back need."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.view = Path(stage.config["tracking"]["database"])
        self._lives = 0

    async def track(self) -> Process:
        """Start a tracker; come back when it tracks."""
        self._lives += 1
        process = await self.stage.start("track", "-c", str(self.stage.config_file), name=f"tracker-{self._lives}")
        await self.stage._answers(process, f"http://{self.stage.config['tracking']['metrics_listen']}/healthz")
        return process

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Return what the view answers."""
        with closing(sqlite3.connect(f"file:{self.view}?mode=ro", uri=True)) as db:
            return db.execute(query).fetchall()

    async def wait_until_known(self, count: int, *, within: float) -> None:
        """Come back when the end of *count* messages is known."""

        async def is_known() -> bool:
            query = "SELECT count(*), count(due) FROM messages WHERE campaign IS NOT NULL"
            return self.ask(query) == [(count, 0)]

        await until(is_known, within=within, what=f"the end of {count} messages")

    async def judge(self, count: int, *, was_killed: bool = False) -> None:
        """Hold what the tracker says against the stand-in."""
        accepted = await self.stage.accepted()
        truth = {entry["mid"]: (entry["status"], entry["code"]) for entry in accepted}
        assert len(truth) == len(accepted) == count
        found = {mid: (status, code) for mid, status, code in self.ask("SELECT mid, status, code FROM messages")}
        assert found == truth
        ends = Counter(truth.values())
        assert {status for status, _ in ends} == {"delivered", "undelivered"}
        # The sums are those of the messages, to the last one.
        sums = self.ask("SELECT status, code, sum(messages) FROM counts GROUP BY 1, 2 HAVING sum(messages) != 0")
        assert {(status, code or None): messages for status, code, messages in sums} == ends
        assert self.ask("SELECT sum(messages) FROM delays WHERE what = 'queue'") == self.ask(
            "SELECT count(left_at) FROM messages"
        )
        await self._judge_deliveries(truth, was_killed=was_killed)
        callbacks = (await self.stage.report())["callbacks"]
        assert (callbacks["forged_taken"], callbacks["failed"]) == (0, 0)
        for fault in ("forged", "duplicated", "late", "lost"):
            assert callbacks[fault] > 0, fault

    async def judge_senders(self) -> None:
        """Hold what is told of senders against the stand-in: nothing waits, and what they sent took a while."""

        async def nothing_waits() -> bool:
            records = await self.stage.read(self.stage.config["topics"]["senders"], 1)
            states = {record.key.decode(): orjson.loads(record.value) for record in records}
            return {state["queued_messages"] for state in states.values()} == {0} and len(states) == len(senders)

        senders = self.stage.config["senders"]
        await until(nothing_waits, within=10, what="senders without a queue")
        records = await self.stage.read(self.stage.config["topics"]["senders"], 1)
        delays = [orjson.loads(record.value)["queue_delay"] for record in records]
        assert any(delay is not None and 0.0 <= delay < 10.0 for delay in delays)

    async def _judge_deliveries(self, truth: dict[str, tuple[str, int | None]], *, was_killed: bool) -> None:
        records = await self.stage.read(self.stage.config["topics"]["deliveries"])
        told: dict[str, list[dict[str, Any]]] = {}
        for record in records:
            delivery = orjson.loads(record.value)
            assert record.key.decode() == delivery["id"]
            if delivery not in told.setdefault(delivery["id"], []):
                told[delivery["id"]].append(delivery)
        assert {mid: (found[-1]["status"], found[-1]["code"]) for mid, found in told.items()} == truth
        for found in told.values():
            # Each begins where the one before it ended; or, where a kill left the view behind, where that one began.
            assert found[0]["before"] == "accepted"
            for one, following in pairwise(found):
                assert following["before"] == one["status"] or (was_killed and following["before"] == one["before"])


@asynccontextmanager
async def all_on_stage(folder: Path, kafka: str, *, poll_after: str = "4s") -> AsyncIterator[Round]:
    address = f"127.0.0.1:{free_port()}"
    sections: dict[str, Any] = {
        "senders": [
            {"number": number, "kind": "short_code", "account": "main", "rate": "400/s"}
            for number in ("72345", "72346")
        ],
        "pools": {"marketing": {"senders": ["72345", "72346"]}},
        "webhooks": {"public_url": f"http://{address}", "listen": address, "spool": str(folder / "spool")},
        "tracking": {
            "database": str(folder / "tracking.sqlite"),
            "poll_after": poll_after,
            "poll_rate": "100/s",
            "metrics_listen": f"127.0.0.1:{free_port()}",
        },
        "simulator": {"seed": 20261124, "callbacks": True, "undelivered": "5%", "callback_faults": FAULTS},
    }
    async with open_stage(folder, kafka, **sections) as stage:
        await stage.start_simulator()
        await stage.start("receive", "-c", str(stage.config_file), name="receiver")
        await stage.start_worker()
        yield Round(stage)


@pytest.mark.parametrize("count", [2000, pytest.param(100_000, marks=pytest.mark.slow)])
async def test_the_end_of_every_message_is_known_whatever_happened_to_its_callbacks(
    kafka: str, tmp_path: Path, count: int
) -> None:
    async with all_on_stage(tmp_path, kafka) as stage:
        tracker = await stage.track()
        await stage.stage.publish(job("spring", row, "marketing") for row in range(count))
        await stage.wait_until_known(count, within=60 + count / 200)
        await stage.judge(count)
        await stage.judge_senders()
        assert await tracker.stop() == 0
        assert "stopped; what was read is in the view" in tracker.log.read_text(encoding="utf-8")


@pytest.mark.parametrize("count", [2000, pytest.param(100_000, marks=pytest.mark.slow)])
async def test_killed_at_any_moment_the_tracker_counts_every_record_once(
    kafka: str, tmp_path: Path, count: int
) -> None:
    random = Random(6)
    async with all_on_stage(tmp_path, kafka) as stage:
        tracker = await stage.track()
        await stage.stage.publish(job("spring", row, "marketing") for row in range(count))
        for _ in range(3):
            await asyncio.sleep(random.uniform(0.2, count / 2000))
            await tracker.kill()
            tracker = await stage.track()
        await stage.wait_until_known(count, within=60 + count / 200)
        await stage.judge(count, was_killed=True)


async def test_a_view_that_was_deleted_is_built_anew_from_the_topics(kafka: str, tmp_path: Path) -> None:
    count = 500
    async with all_on_stage(tmp_path, kafka) as stage:
        tracker = await stage.track()
        await stage.stage.publish(job("spring", row, "marketing") for row in range(count))
        await stage.wait_until_known(count, within=60)
        query = (
            "SELECT campaign, sender, carrier, status, code, messages, segments FROM counts WHERE messages ORDER BY 1"
        )
        before = stage.ask(query), stage.ask("SELECT mid, status, code, left_at, accepted_at FROM messages ORDER BY 1")
        assert await tracker.stop() == 0
        for ending in ("", "-wal", "-shm"):
            Path(f"{stage.view}{ending}").unlink(missing_ok=True)  # noqa: ASYNC240 - nothing else runs now
        asked = (await stage.stage.report())["accounts"]["main"]["requests"]
        await stage.track()
        await stage.wait_until_known(count, within=60)
        assert (
            stage.ask(query),
            stage.ask("SELECT mid, status, code, left_at, accepted_at FROM messages ORDER BY 1"),
        ) == before
        # What Twilio said when it was asked is in the topic, too.
        assert (await stage.stage.report())["accounts"]["main"]["requests"] == asked


async def test_a_second_tracker_is_refused(kafka: str, tmp_path: Path) -> None:
    async with all_on_stage(tmp_path, kafka) as stage:
        await stage.track()
        second = await stage.stage.start("track", "-c", str(stage.stage.config_file), name="second")
        assert await second.process.wait() == 2
        said = second.log.read_text(encoding="utf-8")
        assert said.splitlines()[-1].startswith("dispatcher: another tracker has ")
        assert "Traceback" not in said
