"""How does throughput grow with workers when no limit binds, and who takes the machine's cores?

The stand-in and Kafka run on the same machine, so two questions are asked. First everybody takes what the cores give,
and each process's part of them is told: where the parts add up to all there are, more workers cannot bring more, and
what two workers with a core each would reach beside one follows from what a message costs them. Then each worker is
held to a fifth of a core by a cgroup, so that neither the machine nor anybody else can be what binds.
"""

import asyncio
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks import bounds, report
from benchmarks.cage import Cage, NoCageError, cage
from benchmarks.stage import Process, cpu_seconds
from benchmarks.throughput import MESSAGES, progress, unlimited_stage
from dispatcher.broker.local_kafka import LocalKafka

WORKERS: Final = (1, 2, 4)
RUNS: Final = 3
SHARE: Final = 0.2
# Of each worker, so that what one does at once does not shrink with their number: it is cheaper in large batches.
IN_FLIGHT_EACH: Final = 200
# Of what one worker does, two do so much, or more.
GROWTH: Final = 1.7

Run = dict[str, float]


async def main() -> None:
    """Run the benchmark."""
    load = os.getloadavg()[0]
    free: dict[int, list[Run]] = {workers: [] for workers in WORKERS}
    caged: dict[int, list[Run]] = {workers: [] for workers in WORKERS}
    no_cage = ""
    with LocalKafka() as kafka, tempfile.TemporaryDirectory() as folder:
        for _ in range(RUNS):
            for workers in WORKERS:
                free[workers].append(await run_once(Path(folder), kafka, workers))
                try:
                    with cage(SHARE) as cells:
                        caged[workers].append(await run_once(Path(folder), kafka, workers, cells))
                except NoCageError as none:
                    no_cage = str(none)
    figures: dict[str, Any] = {"load average before and after": [round(load, 1), round(os.getloadavg()[0], 1)]}
    figures |= _of(free, "")
    one, two = (_median(free[workers], "us CPU a message") for workers in WORKERS[:2])
    figures |= _growth("two workers with a core each, by their CPU a message: times one", 2 * one / two)
    if no_cage:
        print(f"workers with {SHARE:.0%} of a core each are left out: {no_cage}")
    else:
        figures |= _of(caged, f" with {SHARE:.0%} of a core each")
        rates = {workers: _median(runs, "messages/s") for workers, runs in caged.items()}
        figures |= _growth(f"two workers with {SHARE:.0%} of a core each: times one", rates[2] / rates[1])
    report.write("workers", figures)
    bounds.insist(figures)


async def run_once(folder: Path, kafka: LocalKafka, workers: int, cells: Cage | None = None) -> Run:
    """Return messages a second of so many *workers*, in *cells*, and the cores that each part kept busy meanwhile."""
    async with unlimited_stage(folder, kafka.address, IN_FLIGHT_EACH * workers) as stage:
        simulator = await stage.start_simulator()
        started = await stage.start_worker(workers=workers)
        supervised = _supervised(started)
        crew = supervised or [started.pid]
        if cells is not None:
            for pid in crew:
                cells.hold(pid)
        # From when all have begun and are in their cells, until the first of them might run out of messages.
        first = await progress(stage, MESSAGES // 5)
        parts = {
            "workers": crew,
            "supervisor": [started.pid] if supervised else [],
            "stand-in": [simulator.pid],
            "Kafka": [kafka.pid or 0],
        }
        before = {part: sum(map(cpu_seconds, pids)) for part, pids in parts.items()}
        last = await progress(stage, MESSAGES * 3 // 5)
        spent = {part: sum(map(cpu_seconds, pids)) - before[part] for part, pids in parts.items()}
        await started.stop()
    count, seconds = last[1] - first[1], last[0] - first[0]
    return {
        "messages/s": count / seconds,
        "us CPU a message": spent["workers"] / count * 1e6,
        **{f"cores of {part}": used / seconds for part, used in spent.items()},
        "cores of all": sum(spent.values()) / seconds,
    }


def _supervised(started: Process) -> list[int]:
    """Return the ids of the workers under a supervisor; one alone has none."""
    return [child.pid for child in psutil.Process(started.pid).children()]


def _of(runs: Mapping[int, Sequence[Run]], how: str) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for number, measured in runs.items():
        crew = f"{number} worker{'s' * (number > 1)}{how}"
        for figure in measured[0]:
            digits = 2 if "cores" in figure else None
            figures[f"{crew}: {figure}, median of runs"] = round(_median(measured, figure), digits)
        figures[f"{crew}: messages/s, every run"] = [round(run["messages/s"]) for run in measured]
    return figures


def _median(runs: Sequence[Run], figure: str) -> float:
    return statistics.median(run[figure] for run in runs)


def _growth(name: str, times: float) -> dict[str, Any]:
    return {name: round(times, 2), f"{name}, at least {GROWTH}": bounds.verdict(holds=times >= GROWTH)}


if __name__ == "__main__":
    asyncio.run(main())
