"""What does a worker need at 2,000 messages a second, all that a family of Twilio accounts may send; and at rest?

Twenty short codes of 100/s, jobs that come as fast as they may leave, and answers as slow as Twilio's.
"""

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks import bounds, report, yardstick
from benchmarks.arrivals import append_steadily
from benchmarks.stage import MAIN, job, open_stage
from dispatcher.broker.local_kafka import LocalKafka
from dispatcher.clock import SystemClock

# The dispatcher drives senders at 99 % of their rate.
RATE: Final = 1980
REST: Final = 10.0
WARM_UP: Final = 5.0
SECONDS: Final = 20.0
RUNS: Final = 3
MOST_CORE: Final = 25.0
MOST_MEMORY: Final = 120.0

clock = SystemClock()


async def main() -> None:
    """Run the benchmark."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(cores[1:]) or set(cores))
    load = os.getloadavg()[0]
    with LocalKafka() as kafka, tempfile.TemporaryDirectory() as folder:
        us = await yardstick.measure(kafka, cores[0])
        runs = [await run_once(Path(folder), kafka.address, cores[0]) for _ in range(RUNS)]
        us += await yardstick.measure(kafka, cores[0])
    figures: dict[str, Any] = {"load average before and after": [round(load, 1), round(os.getloadavg()[0], 1)]}
    figures |= report.of_runs(runs)
    core, memory = figures["% of a core, median of runs"], figures["MB, median of runs"]
    figures[f"below {MOST_CORE:g} % of a core"] = bounds.verdict(holds=core < MOST_CORE)
    figures |= yardstick.figures(us, core)
    figures[f"below {MOST_MEMORY:g} MB"] = bounds.verdict(holds=memory < MOST_MEMORY)
    report.write("family", figures)
    bounds.insist(figures)


async def run_once(folder: Path, kafka: str, core: int) -> dict[str, float]:
    """Return what the worker used at rest and under way."""
    numbers = [str(72000 + number) for number in range(20)]
    async with open_stage(
        folder,
        kafka,
        senders=[{"number": one, "kind": "short_code", "account": "main", "rate": "100/s"} for one in numbers],
        accounts={"main": {**MAIN, "max_concurrency": 500}},
        pools={"marketing": {"senders": numbers}},
        simulator={"callbacks": False, "concurrency": 1000},
    ) as stage:
        await stage.start_simulator()
        worker = await stage.start_worker()
        os.sched_setaffinity(worker.pid, {core})
        await asyncio.sleep(WARM_UP)
        cpu = worker.cpu_seconds()
        await asyncio.sleep(REST)
        at_rest = worker.cpu_seconds() - cpu
        used: dict[str, float] = {}

        async def look() -> None:
            await asyncio.sleep(WARM_UP)
            cpu, began, seen = worker.cpu_seconds(), clock.monotonic(), (await stage.report())["messages"]
            await asyncio.sleep(SECONDS)
            seconds = clock.monotonic() - began
            used["% of a core"] = round(100 * (worker.cpu_seconds() - cpu) / seconds, 1)
            used["messages/s"] = round(((await stage.report())["messages"] - seen) / seconds)
            used["MB"] = round(worker.memory() / 1e6)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(look(), name="look")
            rows = range(int(RATE * (WARM_UP + SECONDS + 2)))
            await append_steadily(stage, (job("family", row, "marketing") for row in rows), RATE)
        return {"% of a core at rest": round(100 * at_rest / REST, 1), **used}


if __name__ == "__main__":
    uvloop.run(main())
