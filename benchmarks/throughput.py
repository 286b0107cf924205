"""How many messages a second does one worker dispatch when no limit binds, and what does each cost it?

From a backlog in Kafka over HTTP to the stand-in (on the same machine, latency 0), results back in Kafka.
"""

import asyncio
import statistics
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks import report
from benchmarks.stage import MAIN, PROGRAM, Stage, job, open_stage
from dispatcher.broker.local_kafka import LocalKafka

MESSAGES = 60_000
RUNS = 5
# A message waits a tick for its intent: 100 in flight would be the limit, at a third of a core.
IN_FLIGHT = 400
# Whole groups come and go within that. Seconds.
STANDSTILL = 60.0
UNLIMITED = [{"number": "72345", "kind": "short_code", "account": "main", "rate": "1000000/s"}]


@asynccontextmanager
async def unlimited_stage(
    folder: Path, kafka: str, in_flight: int = IN_FLIGHT, *, messages: int = MESSAGES
) -> AsyncIterator[Stage]:
    """Set a stage where nothing but processors limits the rate, with a backlog of so many *messages*."""
    async with open_stage(
        folder,
        kafka,
        senders=UNLIMITED,
        accounts={"main": {**MAIN, "max_concurrency": in_flight}},
        twilio={"family_rate": "1000000/s"},
        simulator={
            "callbacks": False,
            "concurrency": 1000,
            "latency": {"low": "0ms", "high": "0ms", "tail": "0ms", "tail_share": "0%"},
        },
    ) as stage:
        await stage.publish(job("bench", row, "marketing") for row in range(messages))
        yield stage


async def run_once(
    folder: Path, kafka: str, program: Sequence[str] = PROGRAM, in_flight: int = IN_FLIGHT
) -> tuple[float, float]:
    """Return messages a second and microseconds of CPU a message, start-up left out.

    From the first message on: soon after, all of the backlog is in hand, and messages cost no reading any more.
    """
    async with unlimited_stage(folder, kafka, in_flight) as stage:
        await stage.start_simulator()
        worker = await stage.start_worker(program=program)
        first = await progress(stage, 1)
        cpu = worker.cpu_seconds()
        last = await progress(stage, MESSAGES * 9 // 10)
        cpu = worker.cpu_seconds() - cpu
        await worker.stop()
        messages = last[1] - first[1]
        return messages / (last[0] - first[0]), cpu / messages * 1e6


async def progress(stage: Stage, wanted: int) -> tuple[float, int]:
    """Return when the stand-in had accepted *wanted* messages or a few more, on its clock, and how many.

    `TimeoutError` when no more come: so many were not published, or nobody dispatches.
    """
    came, at = -1, 0.0
    while True:
        seen = await stage.report()
        if seen["messages"] >= wanted:
            return seen["seconds"], seen["messages"]
        if seen["messages"] > came:
            came, at = seen["messages"], seen["seconds"]
        elif seen["seconds"] - at > STANDSTILL:
            raise TimeoutError(f"{wanted} messages were to come, and after {came} none did for {STANDSTILL:g} s")
        await asyncio.sleep(0.05)


async def main() -> None:
    """Run the benchmark."""
    with LocalKafka() as kafka, tempfile.TemporaryDirectory() as folder:
        runs = [await run_once(Path(folder), kafka.address) for _ in range(RUNS)]
    rates, costs = zip(*runs, strict=True)
    report.write(
        "throughput",
        {
            "messages/s, median of runs": round(statistics.median(rates)),
            "messages/s, every run": [round(rate) for rate in rates],
            "us CPU a message, median of runs": round(statistics.median(costs), 1),
            "us CPU a message, every run": [round(cost, 1) for cost in costs],
        },
    )


if __name__ == "__main__":
    asyncio.run(main())
