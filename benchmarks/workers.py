"""How does throughput grow with workers when no limit binds, and who takes the machine's cores?

The stand-in and Kafka run on the same machine, so each process's part of its cores is told as well. Where they add up
to all cores there are, more workers cannot bring more.
"""

import asyncio
import statistics
import tempfile
from pathlib import Path
from typing import Any

import psutil

from benchmarks import report
from benchmarks.stage import cpu_seconds
from benchmarks.throughput import MESSAGES, progress, unlimited_stage
from dispatcher.broker.local_kafka import LocalKafka

WORKERS = (1, 2, 4)
RUNS = 3


async def run_once(folder: Path, kafka: LocalKafka, workers: int) -> dict[str, float]:
    """Return messages a second, and the cores that each part kept busy meanwhile."""
    async with unlimited_stage(folder, kafka.address) as stage:
        simulator = await stage.start_simulator()
        started = await stage.start_worker(workers=workers)
        first = await progress(stage, MESSAGES // 10)
        # One alone has no supervisor.
        supervised = [child.pid for child in psutil.Process(started.pid).children()]
        parts = {
            "workers": supervised or [started.pid],
            "supervisor": [started.pid] if supervised else [],
            "stand-in": [simulator.pid],
            "Kafka": [kafka.pid or 0],
        }
        before = {part: sum(map(cpu_seconds, pids)) for part, pids in parts.items()}
        last = await progress(stage, MESSAGES * 9 // 10)
        spent = {part: sum(map(cpu_seconds, pids)) - before[part] for part, pids in parts.items()}
        await started.stop()
    messages, seconds = last[1] - first[1], last[0] - first[0]
    return {
        "messages/s": messages / seconds,
        "us CPU a message": spent["workers"] / messages * 1e6,
        **{f"cores of {part}": used / seconds for part, used in spent.items()},
        "cores of all": sum(spent.values()) / seconds,
    }


async def main() -> None:
    """Run the benchmark."""
    runs: dict[int, list[dict[str, float]]] = {workers: [] for workers in WORKERS}
    with LocalKafka() as kafka, tempfile.TemporaryDirectory() as folder:
        for _ in range(RUNS):
            for workers in WORKERS:
                runs[workers].append(await run_once(Path(folder), kafka, workers))
    figures: dict[str, Any] = {}
    for number, measured in runs.items():
        crew = "1 worker" if number == 1 else f"{number} workers"
        for figure in measured[0]:
            median = statistics.median(run[figure] for run in measured)
            figures[f"{crew}: {figure}, median of runs"] = round(median, 2 if "cores" in figure else None)
        figures[f"{crew}: messages/s, every run"] = [round(run["messages/s"]) for run in measured]
    report.write("workers", figures)


if __name__ == "__main__":
    asyncio.run(main())
