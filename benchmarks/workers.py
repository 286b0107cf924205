"""How does throughput grow with workers when no limit binds, and who takes the machine's cores?

The stand-in and Kafka run on the same machine, so two questions are asked. First everybody takes what the cores give,
and each process's part of them is told: where the parts add up to all there are, more workers cannot bring more. Then
each worker is held to a fifth of a core by a cgroup, so that nobody else's part can be what binds.

Even so each makes messages dearer for the other, by the caches that they share. How much of that is the machine's, two
workers say that know nothing of each other, on topics and with a stand-in of their own: what they reach is what the
machine has to give, and two workers of one group are held against it.
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
from benchmarks.stage import Process, cpu_seconds, job
from benchmarks.throughput import progress, unlimited_stage
from dispatcher.broker.local_kafka import LocalKafka

WORKERS: Final = (1, 2, 4)
RUNS: Final = 3
SHARE: Final = 0.2
# Of each worker, so that what one does at once does not shrink with their number: it is cheaper in large batches.
IN_FLIGHT_EACH: Final = 200
# Seconds until every worker has its partitions; then what is dispatched before it is measured, what is, and more than
# that again: nobody runs out.
SETTLED: Final = 8.0
BEFORE: Final = 12_000
MEASURED: Final = 24_000
BACKLOG: Final = 120_000
# Of what one worker does, two do so much, or more; and of what two strangers do.
GROWTH: Final = 1.7
AS_MUCH: Final = 0.95

Run = dict[str, float]


async def main() -> None:
    """Run the benchmark."""
    load = os.getloadavg()[0]
    free: dict[int, list[Run]] = {workers: [] for workers in WORKERS}
    caged: dict[int, list[Run]] = {workers: [] for workers in WORKERS}
    strangers: list[Run] = []
    no_cage = ""
    with LocalKafka() as kafka, tempfile.TemporaryDirectory() as folder:
        for _ in range(RUNS):
            for workers in WORKERS:
                free[workers].append(await run_once(Path(folder), kafka, workers))
            try:
                for workers in WORKERS:
                    with cage(SHARE) as cells:
                        caged[workers].append(await run_once(Path(folder), kafka, workers, cells))
                with cage(SHARE) as cells:
                    strangers.append(await run_apart(Path(folder), kafka, cells))
            except NoCageError as none:
                no_cage = str(none)
    figures: dict[str, Any] = {"load average before and after": [round(load, 1), round(os.getloadavg()[0], 1)]}
    figures |= _of(free, "")
    if no_cage:
        print(f"workers with {SHARE:.0%} of a core each are left out: {no_cage}")
    else:
        figures |= _of(caged, f" with {SHARE:.0%} of a core each")
        figures |= _of({2: strangers}, f" that are strangers, with {SHARE:.0%} of a core each")
        rates = {workers: _median(runs, "messages/s") for workers, runs in caged.items()}
        figures |= _growth(f"two workers with {SHARE:.0%} of a core each: times one", rates[2] / rates[1])
        figures |= _growth("the same: times two strangers", rates[2] / _median(strangers, "messages/s"), AS_MUCH)
    report.write("workers", figures)
    bounds.insist(figures)


async def run_apart(folder: Path, kafka: LocalKafka, cells: Cage) -> Run:
    """Return what two workers do together, in *cells*, that know nothing of each other."""
    barrier = asyncio.Barrier(2)
    folders = [folder / "one", folder / "other"]
    for own in folders:
        own.mkdir(exist_ok=True)
    async with asyncio.TaskGroup() as tasks:
        runs = [tasks.create_task(run_once(own, kafka, 1, cells, barrier)) for own in folders]
    one, other = (run.result() for run in runs)
    return {
        "messages/s": one["messages/s"] + other["messages/s"],
        "us CPU a message": (one["us CPU a message"] + other["us CPU a message"]) / 2,
    }


async def run_once(
    folder: Path, kafka: LocalKafka, workers: int, cells: Cage | None = None, others: asyncio.Barrier | None = None
) -> Run:
    """Return messages a second of so many *workers*, in *cells*, and the cores that each part kept busy meanwhile.

    They begin when all *others* do. The backlog comes once the group has settled: whoever joins later would have jobs
    that were read already be read again.
    """
    async with unlimited_stage(folder, kafka.address, IN_FLIGHT_EACH * workers, messages=0) as stage:
        simulator = await stage.start_simulator()
        started = await stage.start_worker(workers=workers)
        supervised = _supervised(started)
        crew = supervised or [started.pid]
        if cells is not None:
            for pid in crew:
                cells.hold(pid)
        await asyncio.sleep(SETTLED)
        if others is not None:
            await others.wait()
        await stage.publish(job("bench", row, "marketing") for row in range(BACKLOG))
        first = await progress(stage, BEFORE)
        parts = {
            "workers": crew,
            "supervisor": [started.pid] if supervised else [],
            "stand-in": [simulator.pid],
            "Kafka": [kafka.pid or 0],
        }
        before = {part: sum(map(cpu_seconds, pids)) for part, pids in parts.items()}
        last = await progress(stage, first[1] + MEASURED)
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


def _growth(name: str, times: float, least: float = GROWTH) -> dict[str, Any]:
    return {name: round(times, 2), f"{name}, at least {least}": bounds.verdict(holds=times >= least)}


if __name__ == "__main__":
    asyncio.run(main())
