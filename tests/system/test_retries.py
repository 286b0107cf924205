"""What came to nothing goes again, as often as it should, through crashes: workers, a receiver and a tracker."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.stage import PARTITIONS, Stage, job, open_stage, until
from tests.system.test_feedback import everything

pytestmark = [pytest.mark.kafka, pytest.mark.system, pytest.mark.slow]


async def records(stage: Stage, topic: str) -> list[dict[str, Any]]:
    """Return all that is in *topic*."""
    consumer = AIOKafkaConsumer(bootstrap_servers=stage.kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        found: list[dict[str, Any]] = []
        left = sum((await consumer.end_offsets(partitions)).values())
        while len(found) < left:
            for batch in (await consumer.getmany(timeout_ms=1000)).values():
                found += [json.loads(record.value or b"null") for record in batch]
        return found
    finally:
        await consumer.stop()


async def test_through_errors_and_a_kill_each_message_is_accepted_once_and_its_history_is_whole(
    kafka: str, tmp_path: Path
) -> None:
    """Of 21612 by the first sender, 500 and 429 storms; some wait for another attempt when the worker is killed."""
    count = 1000
    async with open_stage(
        tmp_path,
        kafka,
        simulator={"callbacks": False, "faults": {"refuse_429": "20%", "refuse_500": "15%"}},
        twilio={"request_timeout": "3s", "in_doubt_hold_off": "4s"},
    ) as stage:
        await stage.start_simulator()
        worker = await stage.start_worker("first")
        await stage.publish(job("spring", row, "marketing") for row in range(count))

        async def are_some_tried() -> bool:
            return sum((await stage.metric("dispatcher_retries_total")).values()) >= 30

        await until(are_some_tried, within=90, what="retries")
        await worker.kill()
        successor = await stage.start_worker("second")
        await stage.wait_for_results(count, within=240)
        results = await stage.results()
        assert await successor.stop() == 0
        assert len(results) == len({result["id"] for result in results}) == count
        assert Counter(result["status"] for result in results) == {"accepted": count}
        assert (await stage.report())["texted_twice"]["texts"] == 0
        again = [result for result in results if result["attempts"] > 1]
        assert again
        for result in results:
            history = result.get("history", [])
            assert len(history) == (result["attempts"] if result["attempts"] > 1 else 0), result
        assert all(one["history"][-1]["reason"] is None for one in again)
        assert all(attempt["sender"] == "72345" for one in again for attempt in one["history"])


async def test_what_nobody_got_is_sent_once_more_and_never_twice_for_that(kafka: str, tmp_path: Path) -> None:
    count = 300
    codes = [30003, 30008]
    policy = {"codes": codes, "attempts": 1, "after": "5s"}
    async with everything(
        tmp_path,
        kafka,
        simulator={"callbacks": True, "undelivered": "30%", "callback_faults": {"duplicate": "20%"}},
        pools={"marketing": {"senders": ["72345"], "retry_undelivered": policy}},
    ) as stage:
        await stage.publish(job("spring", row, "marketing") for row in range(count))
        await stage.start_worker()
        await stage.wait_for_results(count, within=60)

        async def wanted() -> set[str]:
            """Return the ids that are to follow, of the first messages."""
            deliveries = await records(stage, stage.config["topics"]["deliveries"])
            ended = {one["id"] for one in deliveries if one["code"] in codes and "~" not in one["id"]}
            return {f"{name}~2" for name in ended}

        async def have_all_come() -> bool:
            ids = {result["id"] for result in await stage.results()}
            return len(ids) > count and await wanted() <= ids

        async def have_some_come() -> bool:
            return sum((await stage.metric("dispatcher_jobs_received_total")).values()) > count + 5

        await until(have_some_come, within=90, what="the first of them")
        tracker = next(process for process in stage.started if process.name == "track")
        await tracker.kill()
        await stage.start("track", "-c", str(stage.config_file), name="track")
        await until(have_all_come, within=90, what="all of them")
        await asyncio.sleep(5)  # what is published twice would come now
        results = await stage.results()
        second = {result["id"] for result in results} - {f"spring-{row:06d}" for row in range(count)}
        assert second == await wanted()
        assert len(results) == count + len(second), "one result an id"
        assert (await stage.report())["texted_twice"]["texts"] == 0
