"""What waits for long waits in Kafka: it survives its worker, comes back on time, and is sent once."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.stage import job, open_stage, until
from dispatcher.clock import SystemClock

pytestmark = [pytest.mark.kafka, pytest.mark.system]


async def test_what_is_parked_survives_a_killed_worker_and_leaves_on_time_and_once(kafka: str, tmp_path: Path) -> None:
    count = 2000
    async with open_stage(tmp_path, kafka) as stage:
        await stage.start_simulator()
        worker = await stage.start_worker("first")
        due = SystemClock.now() + timedelta(seconds=45)
        jobs = [job("spring", row, "marketing") | {"send_at": due.isoformat()} for row in range(count)]
        await stage.publish(jobs)

        async def is_parked() -> bool:
            return sum((await stage.metric("dispatcher_postponed_messages_total")).values()) >= count

        await until(is_parked, within=20, what="parking")
        await worker.kill()
        successor = await stage.start_worker("second")
        await stage.wait_for_results(count, within=90)
        await asyncio.sleep(2.0)  # a second result would come now
        results = await stage.results()
        assert await successor.stop() == 0
        assert len(results) == len({result["id"] for result in results}) == count
        assert Counter(result["status"] for result in results) == {"accepted": count}
        first = min(datetime.fromisoformat(result["at"]) for result in results)
        assert due <= first < due + timedelta(seconds=2)  # one for being late, one for the stand-in's answer
        assert (await stage.report())["texted_twice"]["texts"] == 0
        assert {result["job"]["topic"] for result in results} == {stage.topic()}
        assert all(result["parked"]["topic"].startswith(stage.config["topics"]["parked"]) for result in results)
