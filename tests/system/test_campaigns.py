"""Campaigns under control, with the program as processes: paused, resumed, cancelled while workers run and die."""

import asyncio
import os
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.stage import Stage, job, open_stage, until

pytestmark = [pytest.mark.kafka, pytest.mark.system]

FAST = [{"number": "72345", "kind": "short_code", "account": "main", "rate": "500/s"}]
IN_DOUBT_SOON = {"request_timeout": "5s", "in_doubt_hold_off": "5s"}


async def until_sent(stage: Stage, count: int) -> None:
    async def are_sent() -> bool:
        return bool((await stage.report())["messages"] >= count)

    await until(are_sent, within=60, what=f"{count} messages")


async def sent_of(stage: Stage, campaign: str) -> list[dict[str, Any]]:
    """Return what the stand-in accepted of *campaign*: its messages say its name."""
    return [one for one in await stage.accepted() if one["to"].startswith(PREFIXES[campaign])]


PREFIXES = {"spring": "+12065", "summer": "+12066"}


def jobs(campaign: str, count: int) -> list[dict[str, Any]]:
    first = 0 if campaign == "spring" else 1_000_000
    return [job(campaign, first + row, "marketing") for row in range(count)]


@pytest.mark.parametrize("moment", [random.Random(3).uniform(200, 1500), random.Random(4).uniform(200, 1500)])
async def test_after_a_pause_only_what_was_in_flight_arrives(kafka: str, tmp_path: Path, moment: float) -> None:
    count = 4000
    async with open_stage(tmp_path, kafka, senders=FAST) as stage:
        await stage.publish([*jobs("spring", count), *jobs("summer", count)])
        await stage.start_simulator()
        await stage.start_worker("supervisor", workers=2)
        await until_sent(stage, int(moment))
        said = await stage.command("campaign", "pause", "spring", "--unknown", "--why", "the link is wrong")
        in_flight = sum((await stage.metric("dispatcher_requests_in_flight")).values())
        before = len(await sent_of(stage, "spring"))
        assert len(said["workers"]) == 2
        others = len(await sent_of(stage, "summer"))
        await asyncio.sleep(2)
        assert len(await sent_of(stage, "spring")) - before <= in_flight
        assert len(await sent_of(stage, "summer")) - others > 400
        shown = await stage.command("campaign", "show", "spring")
        assert shown["state"] == "paused"
        assert shown["why"] == "the link is wrong"
        assert shown["done"] == shown["results"]["accepted"] == len(await sent_of(stage, "spring"))
        await stage.command("campaign", "resume", "spring")
        results = await stage.wait_for_results(2 * count, within=60)
        report = await stage.report()
        assert Counter((one["campaign"], one["status"]) for one in results) == {
            ("spring", "accepted"): count,
            ("summer", "accepted"): count,
        }
        assert report["texted_twice"]["texts"] == 0


async def test_cancelled_while_a_worker_is_killed_every_message_has_one_result(kafka: str, tmp_path: Path) -> None:
    count = 6000
    async with open_stage(tmp_path, kafka, senders=FAST, twilio=IN_DOUBT_SOON) as stage:
        await stage.publish([*jobs("spring", count), *jobs("summer", count // 4)])
        await stage.start_simulator()
        supervisor = await stage.start_worker("supervisor", workers=2)
        await until_sent(stage, 1000)
        cancelling = stage.command("campaign", "cancel", "spring", "--unknown")
        async with asyncio.TaskGroup() as tasks:
            said = tasks.create_task(cancelling)
            await asyncio.sleep(random.Random(5).uniform(0.5, 1.0))
            os.kill(psutil.Process(supervisor.pid).children()[0].pid, signal.SIGKILL)
        assert said.result()["state"] == "cancelled"
        results = await stage.wait_for_results(count + count // 4, within=90)
        ids = Counter(one["id"] for one in results)
        assert set(ids.values()) == {1}
        statuses = Counter((one["campaign"], one["status"]) for one in results)
        assert statuses["spring", "accepted"] + statuses["spring", "cancelled"] == count
        assert statuses["spring", "cancelled"] > count / 4
        assert statuses["summer", "accepted"] == count // 4
        assert len(await sent_of(stage, "spring")) == statuses["spring", "accepted"]
        assert (await stage.report())["texted_twice"]["texts"] == 0


async def test_a_draft_waits_until_it_is_resumed_and_is_finished_when_all_have_a_result(
    kafka: str, tmp_path: Path
) -> None:
    (tmp_path / "people.csv").write_text(
        "to,name\n" + "".join(f"+1206{row:07d},Ana\n" for row in range(5_000_000, 5_000_300))
    )
    file = tmp_path / "spring.yaml"
    file.write_text("campaign: spring\npool: marketing\ntemplate: Hi {{ name }}\nrecipients: people.csv\n")
    async with open_stage(tmp_path, kafka, senders=FAST) as stage:
        await stage.start_simulator()
        await stage.start_worker()
        await stage.command("publish", str(file), "--yes", "--draft")
        assert [(one["campaign"], one["state"]) for one in await stage.command("campaign", "list")] == [
            ("spring", "draft")
        ]
        await asyncio.sleep(1)
        assert (await stage.report())["messages"] == 0
        await stage.command("campaign", "resume", "spring")
        await stage.wait_for_results(300, within=30)
        shown = await stage.command("campaign", "show", "spring")
        assert (shown["state"], shown["done"], shown["recipients"]) == ("finished", 300, 300)
        with pytest.raises(RuntimeError, match="there is nothing to cancel"):
            await stage.command("campaign", "cancel", "spring")
        with pytest.raises(RuntimeError, match=r'nothing is known of a campaign "sprnig" \(known: spring\)'):
            await stage.command("campaign", "pause", "sprnig")


async def test_a_worker_that_stands_still_is_named_and_a_dead_one_is_waited_out(kafka: str, tmp_path: Path) -> None:
    async with open_stage(tmp_path, kafka, senders=FAST) as stage:
        await stage.publish(jobs("spring", 100_000))
        await stage.start_simulator()
        worker = await stage.start_worker()
        await until_sent(stage, 500)
        os.kill(worker.pid, signal.SIGSTOP)
        try:
            # The group gives it up after 15 s; what it holds it may not send any more.
            said = await stage.command("campaign", "pause", "spring", "--unknown")
        finally:
            os.kill(worker.pid, signal.SIGCONT)
        assert said["workers"] == []
        before = (await stage.report())["messages"]
        await asyncio.sleep(3)
        assert (await stage.report())["messages"] == before
