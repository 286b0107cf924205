"""The config file changes under load: what workers do then is judged by the stand-in's log."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import pytest

from benchmarks.paced import peak
from benchmarks.stage import Process, Stage, job, open_stage, until
from dispatcher.clock import SystemClock

pytestmark = [pytest.mark.kafka, pytest.mark.system, pytest.mark.slow]

# A change has to hold so many seconds after the save.
HOLDS = 1.0
FIRST: dict[str, Any] = {"number": "72345", "kind": "short_code", "account": "main", "rate": "100/s"}
SECOND: dict[str, Any] = {**FIRST, "number": "72346"}


@asynccontextmanager
async def under_load(
    folder: Path, kafka: str, *, workers: int, senders: list[dict[str, Any]], messages: int
) -> AsyncIterator[tuple[Stage, Process]]:
    """Have *workers* send by the first of *senders*; the stand-in knows all of them."""
    async with open_stage(folder, kafka, senders=senders) as stage:
        await stage.publish(job("spring", row, "marketing") for row in range(messages))
        await stage.start_simulator()
        save(stage, senders[:1])
        worker = await stage.start_worker(workers=None if workers == 1 else workers)

        async def runs() -> bool:
            return len(await stage.accepted()) > 400

        await until(runs, within=60, what="the load")
        yield stage, worker


def save(stage: Stage, senders: list[dict[str, Any]]) -> float:
    """Have the config say *senders*, all in one pool; return when that was saved."""
    stage.config["senders"] = senders
    stage.config["pools"]["marketing"]["senders"] = [sender["number"] for sender in senders]
    stage.write_config()
    return SystemClock.monotonic()


async def sent_at(stage: Stage, begin: float, end: float, sender: str = "72345") -> list[float]:
    """Return when *sender* was heard in the stand-in between *begin* and *end*, once that is over."""
    await asyncio.sleep(max(0.0, end + 0.5 - SystemClock.monotonic()))
    return [one["at"] for one in await stage.accepted() if begin <= one["at"] < end and one["from"] == sender]


def a_second(times: list[float]) -> float:
    """Return how many were sent in most seconds: a machine that stands still for one of them is no matter of ours."""
    return median(Counter(int(at - times[0]) for at in times).values())


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_halved_rate_holds_within_a_second_and_a_raised_one_brings_no_burst(
    kafka: str, tmp_path: Path, workers: int
) -> None:
    async with under_load(tmp_path, kafka, workers=workers, senders=[FIRST], messages=6000) as (stage, _):
        halved = save(stage, [{**FIRST, "rate": "50/s"}])
        before = await sent_at(stage, halved - 2, halved)
        assert a_second(before) >= 90
        slow = await sent_at(stage, halved + HOLDS, halved + HOLDS + 8)
        assert peak(slow, 1.0) <= 53
        assert a_second(slow) >= 47
        raised = save(stage, [FIRST])
        assert peak(await sent_at(stage, halved, raised + HOLDS + 8), 1.0) <= 105
        fast = await sent_at(stage, raised + HOLDS, raised + HOLDS + 8)
        assert a_second(fast) >= 94


async def test_a_sender_is_added_and_another_removed_under_load_and_every_message_has_its_result(
    kafka: str, tmp_path: Path
) -> None:
    count = 4000
    async with under_load(tmp_path, kafka, workers=2, senders=[FIRST, SECOND], messages=count) as (stage, worker):
        added = save(stage, [FIRST, SECOND])
        assert a_second(await sent_at(stage, added + HOLDS, added + HOLDS + 4, "72346")) >= 90
        removed = save(stage, [SECOND])
        assert await sent_at(stage, removed + HOLDS, removed + HOLDS + 5, "72345") == []
        results = await stage.wait_for_results(count, within=90)
        assert Counter(result["status"] for result in results) == {"accepted": count}
        assert len({result["id"] for result in results}) == count
        report = await stage.report()
        assert (report["messages"], report["texted_twice"]["texts"]) == (count, 0)
        versions = await stage.metric("dispatcher_config_info")
        assert len({series.partition("version=")[2].split('"')[1] for series in versions}) == 1
        assert await worker.stop() == 0
        assert await stage.lag() == 0


async def test_a_bad_edit_is_refused_by_every_worker_and_nothing_else_happens(kafka: str, tmp_path: Path) -> None:
    async with under_load(tmp_path, kafka, workers=2, senders=[FIRST], messages=4000) as (stage, worker):

        async def all_refused(times: int) -> bool:
            return list((await stage.metric("dispatcher_config_refused_total")).values()) == [times] * 2

        saved = save(stage, [{**FIRST, "rate": "fast"}, {**FIRST, "number": "72347", "account": "nobody"}])
        await until(lambda: all_refused(1), within=10, what="the refusal")
        stage.config["kafka"]["group_id"] = "another"
        save(stage, [{**FIRST, "rate": "50/s"}])
        await until(lambda: all_refused(2), within=10, what="the second refusal")
        assert a_second(await sent_at(stage, saved, saved + 6)) >= 94
        lines = [orjson.loads(line) for line in worker.log.read_bytes().splitlines()]
        reasons = {(line["worker"], line["reason"]) for line in lines if line["event"].startswith("config refused")}
        for number in (1, 2):
            of_this = sorted(reason for worker_, reason in reasons if worker_ == number)
            assert len(of_this) == 3
            assert all(reason.startswith(f"{stage.config_file}:") for reason in of_this)
            assert any('"kafka.group_id" needs a restart' in reason for reason in of_this)
        assert set((await stage.metric("dispatcher_config_is_refused")).values()) == {1}
        assert await worker.stop() == 0
