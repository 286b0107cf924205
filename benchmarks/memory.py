"""How much memory does a worker need: a million jobs wait in the topic, there are 5,000 senders, or 1,000 campaigns?

In each scene more waits than a worker takes in hand, and one of many takes minutes to send it: the look-ahead is full.
What senders or campaigns need is what a scene needs beyond the first.
"""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import report
from benchmarks.stage import MAIN, Stage, job, open_stage, until
from dispatcher.broker.local_kafka import LocalKafka

BODY: Final = "Hi Anna, spring is here: 20% off all shoes in our Portland store until Sunday. Reply STOP to opt out."
SENT: Final = 1000


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
