"""A worker joins, leaves, or dies: how long is nothing sent, and how much of the rate is lost?

Two workers share one sender of 500/s, and more is waiting than it can send. The group gives the partitions of one that
left away at once, of one that died when its session ends, 15 s later: only its half of the rate rests until then.
"""

import asyncio
import os
import tempfile
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from benchmarks import report
from benchmarks.recovery import RATE
from benchmarks.stage import Stage, free_port, job, open_stage
from dispatcher.broker.local_kafka import LocalKafka
from dispatcher.clock import SystemClock

RUNS: Final = 3
# What a sender is driven at.
DRIVEN: Final = 0.99 * RATE
# A change is over by then.
JOINED_WITHIN: Final = 12.0
LEFT_WITHIN: Final = 8.0
DIED_WITHIN: Final = 25.0

clock = SystemClock()


async def main() -> None:
    """Run the benchmark."""
    load = os.getloadavg()[0]
    with LocalKafka() as kafka, tempfile.TemporaryDirectory() as folder:
        runs = [await run_once(Path(folder), kafka.address) for _ in range(RUNS)]
    figures: dict[str, Any] = {"load average before and after": [round(load, 1), round(os.getloadavg()[0], 1)]}
    figures |= report.of_runs(runs)
    report.write("rebalance", figures)


async def run_once(folder: Path, kafka: str) -> dict[str, float]:
    """Return what each change cost."""
    async with open_stage(
        folder,
        kafka,
        senders=[{"number": "72345", "kind": "short_code", "account": "main", "rate": f"{RATE}/s"}],
        simulator={"callbacks": False, "concurrency": 1000},
    ) as stage:
        await stage.publish(job("rebalance", row, "marketing") for row in range(80 * RATE))
        await stage.start_simulator()
        await stage.start_worker("first")
        await asyncio.sleep(5)
        spans = {}
        began = clock.monotonic()
        second = await _another(stage, "second")
        await asyncio.sleep(JOINED_WITHIN)
        spans["one joins"] = (began, clock.monotonic())
        began = clock.monotonic()
        await second.stop()
        await asyncio.sleep(LEFT_WITHIN)
        spans["one leaves"] = (began, clock.monotonic())
        third = await _another(stage, "third")
        await asyncio.sleep(JOINED_WITHIN)
        began = clock.monotonic()
        await third.kill()
        await asyncio.sleep(DIED_WITHIN)
        spans["one dies"] = (began, clock.monotonic())
        arrived = [message["at"] for message in await stage.accepted()]
    return {
        f"{change}: {figure}": value
        for change, (begin, end) in spans.items()
        for figure, value in cost(arrived, begin, end).items()
    }


async def _another(stage: Stage, name: str) -> Any:
    """Start another worker, whose metrics are elsewhere."""
    stage.config["metrics"] = {"listen": f"127.0.0.1:{free_port()}"}
    stage.write_config()
    return await stage.start_worker(name)


def cost(arrived: Sequence[float], begin: float, end: float) -> dict[str, float]:
    """Return for how long nothing *arrived* between *begin* and *end*, and how many seconds of the rate are missing."""
    within = arrived[bisect_left(arrived, begin) : bisect_left(arrived, end)]
    return {
        "s without any message": max(after - before for before, after in pairwise([begin, *within, end])),
        "s of the rate lost": end - begin - len(within) / DRIVEN,
    }


if __name__ == "__main__":
    asyncio.run(main())
