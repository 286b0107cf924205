"""How much memory does a worker need: a million jobs wait in the topic or are parked, 5,000 senders, 1,000 campaigns?

What is parked should need none. In each other scene more waits than a worker takes in hand, and one of many takes
minutes to send it: the look-ahead is full. What senders or campaigns need is what a scene needs beyond the first.
"""

import asyncio
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from benchmarks import report
from benchmarks.stage import MAIN, Stage, job, open_stage, until
from dispatcher.broker.local_kafka import LocalKafka
from dispatcher.clock import SystemClock

BODY: Final = "Hi Anna, spring is here: 20% off all shoes in our Portland store until Sunday. Reply STOP to opt out."
SENT: Final = 1000
PARKED: Final = 1_000_000
# A worker has looked at each tier some times by then. Seconds.
SETTLES_WITHIN: Final = 10.0


@dataclass(frozen=True, slots=True)
class Scene:
    """So many *jobs* of so many *campaigns*, and *senders* that send 100 a second together."""

    jobs: int
    senders: int = 1
    campaigns: int = 1


SCENES: Final = {
    "a backlog of 1,000,000": Scene(1_000_000),
    "5,000 senders": Scene(150_000, senders=5000),
    "1,000 campaigns": Scene(150_000, campaigns=1000),
}


async def main() -> None:
    """Run the benchmark."""
    figures: dict[str, Any] = {}
    with LocalKafka() as kafka, tempfile.TemporaryDirectory() as folder:
        for name, scene in SCENES.items():
            measured = await measure(Path(folder), kafka.address, scene)
            figures |= {f"{name}: {figure}": value for figure, value in measured.items()}
        measured = await measure_parked(Path(folder), kafka.address)
        figures |= {f"1,000,000 parked: {figure}": value for figure, value in measured.items()}
    report.write("memory", figures)


async def measure(folder: Path, kafka: str, scene: Scene) -> dict[str, int]:
    """Return what a worker needs at its start, and with the look-ahead full."""
    numbers = [f"+1206{4_000_000 + number:07d}" for number in range(scene.senders)]
    rate = f"{100 / scene.senders * 3600:g}/h"
    async with open_stage(
        folder,
        kafka,
        senders=[{"number": one, "kind": "long_code", "account": "main", "rate": rate} for one in numbers],
        accounts={"main": MAIN},
        pools={"marketing": {"senders": numbers}},
    ) as stage:
        await stage.publish(
            job(f"campaign-{row % scene.campaigns:04d}", row, "marketing", BODY) for row in range(scene.jobs)
        )
        await stage.start_simulator()
        worker = await stage.start_worker()
        at_start = worker.memory()
        in_hand = await _fill(stage)
        await stage.wait_for_results(SENT, within=120)
        return {
            "jobs in the topic": scene.jobs,
            "jobs in hand": in_hand,
            "MB at the start": round(at_start / 1e6),
            "MB with the look-ahead full": round(worker.memory() / 1e6),
        }


async def measure_parked(folder: Path, kafka: str) -> dict[str, int]:
    """Return what a worker needs at its start, once it has parked a million jobs, and when it finds them parked.

    They are due in five hours, so they stay where they are.
    """
    due = (SystemClock.now() + timedelta(hours=5)).isoformat()
    async with open_stage(folder, kafka) as stage:
        await stage.start_simulator()
        worker = await stage.start_worker("first")
        at_start = worker.memory()
        await stage.publish(job("spring", row, "marketing", BODY, send_at=due) for row in range(PARKED))
        await _until_parked(stage)
        after = worker.memory()
        await worker.stop()
        successor = await stage.start_worker("second")
        await asyncio.sleep(SETTLES_WITHIN)
        await _until_parked(stage)
        return {
            "MB at the start": round(at_start / 1e6),
            "MB when it has parked them": round(after / 1e6),
            "MB of the next worker, which finds them": round(successor.memory() / 1e6),
        }


async def _until_parked(stage: Stage) -> None:
    async def are_parked() -> bool:
        return sum((await stage.metric("dispatcher_parked_messages")).values()) >= PARKED

    await until(are_parked, within=600, what="parked jobs")


async def _fill(stage: Stage) -> int:
    """Come back when the look-ahead is full; return how many jobs that is."""
    in_hand = 0.0

    async def is_full() -> bool:
        nonlocal in_hand
        before, in_hand = in_hand, sum((await stage.metric("dispatcher_jobs_in_hand")).values())
        return bool(before and in_hand <= before)

    await until(is_full, within=120, what="a full look-ahead")
    return int(in_hand)


if __name__ == "__main__":
    asyncio.run(main())
