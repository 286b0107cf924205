"""What waits for long waits in Kafka: it survives its worker, comes back on time, and is sent once."""

import asyncio
import random
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.stage import Stage, job, open_stage, until
from dispatcher.clock import SystemClock

pytestmark = [pytest.mark.kafka, pytest.mark.system]

FAST = [{"number": "72345", "kind": "short_code", "account": "main", "rate": "500/s"}]


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


async def parked_in(stage: Stage, tier: str) -> int:
    return int((await stage.metric("dispatcher_parked_messages")).get(f'tier="{tier}"', 0))


@pytest.mark.slow
async def test_a_paused_campaign_is_parked_whole_hides_nothing_and_goes_on_at_once_when_it_is_resumed(
    kafka: str, tmp_path: Path
) -> None:
    """More of it than a worker takes in hand, through a kill -9 of the worker."""
    count, others = 120_000, 500
    async with open_stage(tmp_path, kafka, senders=FAST) as stage:
        await stage.start_simulator()
        worker = await stage.start_worker("first")
        await stage.command("campaign", "pause", "spring", "--unknown")
        await stage.publish(job("spring", row, "marketing") for row in range(count))
        await stage.publish(job("summer", count + row, "marketing") for row in range(others))

        async def is_parked() -> bool:
            return await parked_in(stage, "held") >= count / 2

        await until(is_parked, within=60, what="a parked campaign")
        await worker.kill()
        await stage.start_worker("second")
        results = await stage.wait_for_results(others, within=120)
        assert {result["campaign"] for result in results} == {"summer"}

        async def is_parked_whole() -> bool:
            return await parked_in(stage, "held") >= count

        await until(is_parked_whole, within=120, what="the whole campaign parked")
        before = (await stage.report())["messages"]
        await stage.command("campaign", "resume", "spring")

        async def has_begun() -> bool:
            return bool((await stage.report())["messages"] > before)

        await until(has_begun, within=5, what="a first message of the resumed campaign")
        await stage.wait_for_results(others + random.Random(7).randrange(2000, 5000), within=60)
        await stage.command("campaign", "cancel", "spring")
        results = await stage.wait_for_results(count + others, within=120)
        await asyncio.sleep(2.0)  # a second result would come now
        results = await stage.results()
        assert len(results) == len({result["id"] for result in results}) == count + others
        statuses = Counter((result["campaign"], result["status"]) for result in results)
        assert statuses["spring", "accepted"] + statuses["spring", "cancelled"] == count
        assert (await stage.report())["messages"] == statuses["spring", "accepted"] + others
        assert (await stage.report())["texted_twice"]["texts"] == 0


async def test_a_cancelled_campaign_that_is_parked_for_hours_has_its_results_within_seconds(
    kafka: str, tmp_path: Path
) -> None:
    count = 2000
    async with open_stage(tmp_path, kafka) as stage:
        await stage.start_simulator()
        await stage.start_worker()
        due = (SystemClock.now() + timedelta(hours=5)).isoformat()
        await stage.publish(
            job(("spring", "summer")[row % 2], row, "marketing") | {"send_at": due} for row in range(2 * count)
        )

        async def are_parked() -> bool:
            return await parked_in(stage, "1h") >= 2 * count

        await until(are_parked, within=30, what="parking")
        await stage.command("campaign", "cancel", "spring", "--unknown")
        results = await stage.wait_for_results(count, within=15)
        assert Counter((one["campaign"], one["status"]) for one in results) == {("spring", "cancelled"): count}

        async def are_left() -> bool:
            return await parked_in(stage, "1h") == count

        await until(are_left, within=15, what="the other one, still parked")


@pytest.mark.slow
async def test_of_ten_thousand_that_are_due_at_once_the_first_leave_on_time_and_the_rest_at_the_senders_rate(
    kafka: str, tmp_path: Path
) -> None:
    count, rate = 10_000, 400
    senders = [{**FAST[0], "rate": f"{rate}/s"}]
    async with open_stage(tmp_path, kafka, senders=senders) as stage:
        await stage.start_simulator()
        await stage.start_worker()
        due = (SystemClock.now() + timedelta(seconds=75)).replace(microsecond=0)
        await stage.publish(job("spring", row, "marketing") | {"send_at": due.isoformat()} for row in range(count))
        await stage.wait_for_results(count, within=75 + count / rate + 30)
        passed = SystemClock.epoch() - SystemClock.monotonic()
        late = sorted(one["at"] + passed - due.timestamp() for one in await stage.accepted())
        assert len(late) == count
        assert 0 <= late[0] <= 1.0
        # From then on at the sender's rate, of which the worker uses 99 %.
        behind = [at - place / (0.99 * rate) for place, at in enumerate(late)]
        assert max(behind) <= 1.0, [round(one, 2) for one in behind[::rate]]
        assert (await stage.report())["texted_twice"]["texts"] == 0


@pytest.mark.slow
async def test_a_saturated_pool_with_more_than_memory_holds_hides_nobody(kafka: str, tmp_path: Path) -> None:
    """300,000 jobs of a pool of 10/s lie before 500 of another one, through a kill -9."""
    many, few = 300_000, 500
    senders = [{**FAST[0], "rate": "10/s"}, {**FAST[0], "number": "72346"}]
    pools = {"marketing": {"senders": ["72345"]}, "other": {"senders": ["72346"]}}
    async with open_stage(tmp_path, kafka, senders=senders, pools=pools) as stage:
        await stage.publish(job("spring", row, "marketing") for row in range(many))
        await stage.publish(job("summer", many + row, "other") for row in range(few))
        await stage.start_simulator()
        worker = await stage.start_worker("first")

        async def parks() -> bool:
            return await parked_in(stage, "10min") + await parked_in(stage, "1h") > many / 4

        await until(parks, within=90, what="parked jobs")
        before = len([one for one in await stage.results() if one["campaign"] == "spring"])
        assert before
        await worker.kill()
        await stage.start_worker("second")

        async def are_all_sent() -> bool:
            results = await stage.results()
            return Counter(one["campaign"] for one in results if one["status"] == "accepted")["summer"] == few

        await until(are_all_sent, within=240, what="the other pool's messages")
        await stage.command("campaign", "cancel", "spring", "--unknown")
        results = await stage.wait_for_results(many + few, within=240)
        await asyncio.sleep(2.0)  # a second result would come now
        results = await stage.results()
        assert len(results) == len({one["id"] for one in results}) == many + few
        accepted = sum(one["status"] == "accepted" for one in results)
        assert (await stage.report())["messages"] == accepted
        assert (await stage.report())["texted_twice"]["texts"] == 0
