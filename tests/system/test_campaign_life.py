"""Whatever is said and done while three campaigns run at 500/s: each of their messages has one result."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.stage import Process, Stage, job, open_stage, until
from dispatcher.clock import SystemClock

pytestmark = [pytest.mark.kafka, pytest.mark.system]

FAST = [{"number": "72345", "kind": "short_code", "account": "main", "rate": "500/s"}]
IN_DOUBT_SOON = {"request_timeout": "5s", "in_doubt_hold_off": "5s"}
# Rows, and what each campaign's recipients have in common.
ROWS = {"spring": 6000, "summer": 12_000, "autumn": 2500}
PREFIXES = {"spring": "+12065", "summer": "+12066", "autumn": "+12067"}
FAULTS = {"refuse_429_share": 0.05, "refuse_500_share": 0.02, "accept_then_500_share": 0.01}
STEPS = 12


class Life:
    """What happens to the campaigns, drawn from a *seed*."""

    def __init__(self, stage: Stage, supervisor: Process, seed: int) -> None:
        self.stage = stage
        self.supervisor = supervisor
        self.random = random.Random(seed)
        self.paused: set[str] = set()
        self.cancelled: set[str] = set()
        self.pauses_held = 0

    async def go(self) -> None:
        """Let happen what is drawn, then let everything go on."""
        cancel_at = self.random.randrange(3)
        for step in range(STEPS):
            await asyncio.sleep(self.random.uniform(0.0, 3.0))
            happen = self.random.choice([self.pause, self.pause, self.resume, self.resume, self.crash, self.trouble])
            await (self.cancel() if step == cancel_at else happen())
        for campaign in sorted(self.paused):
            await self.stage.command("campaign", "resume", campaign, "--unknown")
        await self.stage.turn_knobs(**dict.fromkeys(FAULTS, 0.0))

    async def pause(self) -> None:
        """Nothing arrives after the command has returned but what was in flight."""
        campaign = self.random.choice(["spring", "autumn"])
        self.paused.add(campaign)
        await self.stage.command("campaign", "pause", campaign, "--unknown")
        in_flight = sum((await self.stage.metric("dispatcher_requests_in_flight")).values())
        before = await self._accepted(campaign)
        await asyncio.sleep(self.random.choice([0.5, 12.0]))  # 12 s: then it is parked
        assert await self._accepted(campaign) - before <= in_flight
        self.pauses_held += 1

    async def resume(self) -> None:
        if self.paused:
            campaign = self.random.choice(sorted(self.paused))
            self.paused.discard(campaign)
            await self.stage.command("campaign", "resume", campaign, "--unknown")

    async def cancel(self) -> None:
        self.cancelled.add("summer")
        await self.stage.command("campaign", "cancel", "summer", "--unknown")

    async def crash(self) -> None:
        workers = psutil.Process(self.supervisor.pid).children()
        if workers:
            os.kill(self.random.choice(workers).pid, signal.SIGKILL)

    async def trouble(self) -> None:
        await self.stage.turn_knobs(**{fault: self.random.choice([0.0, share]) for fault, share in FAULTS.items()})

    async def _accepted(self, campaign: str) -> int:
        return sum(one["to"].startswith(PREFIXES[campaign]) for one in await self.stage.accepted())


def jobs(seed: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of all campaigns, in turns; a third of autumn's are scheduled."""
    draw = random.Random(seed)
    now = SystemClock.now()
    for row in range(max(ROWS.values())):
        for number, (campaign, rows) in enumerate(ROWS.items()):
            if row < rows:
                later = {"send_at": (now + timedelta(seconds=draw.uniform(5, 60))).isoformat()}
                yield job(campaign, number * 1_000_000 + row, "marketing") | (
                    later if campaign == "autumn" and row % 3 == 0 else {}
                )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_paused_resumed_cancelled_killed_retried_and_parked_each_row_has_one_result(
    kafka: str, tmp_path: Path, seed: int
) -> None:
    async with open_stage(tmp_path, kafka, senders=FAST, twilio=IN_DOUBT_SOON) as stage:
        await stage.publish(jobs(seed))
        await stage.start_simulator()
        supervisor = await stage.start_worker("supervisor", workers=2)

        async def are_sent() -> bool:
            return bool((await stage.report())["messages"] >= random.Random(seed).randrange(100, 1500))

        await until(are_sent, within=60, what="a beginning")
        life = Life(stage, supervisor, seed)
        await life.go()
        assert life.pauses_held
        await stage.wait_for_results(sum(ROWS.values()), within=180)
        await asyncio.sleep(2.0)  # a second result would come now
        results = await stage.results()
        assert set(Counter(one["id"] for one in results).values()) == {1}
        assert Counter(one["campaign"] for one in results) == ROWS
        statuses = Counter((one["campaign"], one["status"]) for one in results)
        for campaign, rows in ROWS.items():
            stopped = statuses[campaign, "cancelled"]
            assert statuses[campaign, "accepted"] + stopped == rows
            assert (stopped > 0) is (campaign == "summer")
        accepted = Counter(one["to"][:6] for one in await stage.accepted())
        assert accepted == {PREFIXES[name]: statuses[name, "accepted"] for name in ROWS}
        assert (await stage.report())["texted_twice"]["texts"] == 0
