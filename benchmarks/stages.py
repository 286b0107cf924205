"""Where does the CPU go that a message costs: which stage of its way, and what around it?

py-spy looks at a worker that nothing limits, 250 times a second, and a sample is the stage's whose code is innermost;
the rest is aiokafka's, or the loop's own (sockets, timers, uvloop itself). The parser counts as the POST's. A run has
some 900 samples: its shares are good to one in a hundred.
"""

import asyncio
import os
import shutil
import statistics
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from benchmarks import report
from benchmarks.stage import Process
from benchmarks.throughput import progress, unlimited_stage
from dispatcher.broker.local_kafka import LocalKafka
from dispatcher.intake.consumer import MOST_IN_HAND

# Files of the package, by how they begin, in the order of the message's way. What is not among them (the clock, the
# metrics, the words of `domain`, other libraries) works for the stage that called it.
STAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "read": ("intake/consumer", "intake/offsets", "intake/commits"),
    "decode": ("intake/decode", "domain/segments"),
    "place": ("compliance/", "sharding/", "engine/placement", "engine/repeats"),
    "pace": ("pacing/", "engine/driver"),
    "intent": ("delivery/ledger", "domain/journal"),
    "request bytes": ("delivery/request",),
    "POST": ("delivery/twilio", "transport/exchange", "transport/wire", "transport/timer_wheel"),
    "judge": ("delivery/judge",),
    "result": ("outcomes/", "transport/fenced_producer"),
    "between the stages": ("engine/", "app/worker"),
}
KAFKA: Final[Mapping[str, str]] = {
    "aiokafka/consumer/": "aiokafka: fetch",
    "aiokafka/producer/": "aiokafka: produce",
    "aiokafka/": "aiokafka: connections",
}
LOOP: Final = "loop and sockets"
# More than a worker takes in hand, so that it still reads and places jobs when it is looked into.
MESSAGES: Final = MOST_IN_HAND + 90_000
WARM_UP: Final = 15_000
RUNS: Final = 3
SECONDS: Final = 4
RATE: Final = 250


async def main() -> None:
    """Run the benchmark."""
    spy = shutil.which("py-spy", path=f"{sysconfig.get_path('scripts')}:{os.environ.get('PATH', '')}")
    if spy is None:
        print("left out: there is no py-spy to look into a worker with")
        return
    load = os.getloadavg()[0]
    shares: list[Counter[str]] = []
    costs: list[float] = []
    with LocalKafka() as kafka, tempfile.TemporaryDirectory() as folder:
        for _ in range(RUNS):
            async with unlimited_stage(Path(folder), kafka.address, messages=MESSAGES) as stage:
                await stage.start_simulator()
                worker = await stage.start_worker()
                first, cpu = await progress(stage, WARM_UP), worker.cpu_seconds()
                samples = await _look_into(worker, spy, Path(folder) / "samples")
                cpu, last = worker.cpu_seconds() - cpu, await progress(stage, 0)
                costs.append(cpu / (last[1] - first[1]) * 1e6)
                shares.append(samples)
    cost = statistics.median(costs)
    figures: dict[str, Any] = {
        "load average before and after": [round(load, 1), round(os.getloadavg()[0], 1)],
        "us CPU a message, median of runs": round(cost, 1),
    }
    of_runs = {name: [100 * run[name] / run.total() for run in shares] for name in (*STAGES, *KAFKA.values(), LOOP)}
    for name, every in of_runs.items():
        figures[f"{name}: % of CPU, median of runs"] = round(statistics.median(every), 1)
        figures[f"{name}: % of CPU, every run"] = [round(share, 1) for share in every]
        figures[f"{name}: us a message"] = round(cost * statistics.median(every) / 100, 1)
    report.write("stages", figures)


@cache
def stage_of(filename: str) -> str | None:
    """Return the stage that the code in *filename* belongs to by itself; None for what works for its caller."""
    _, package, path = filename.rpartition("dispatcher/")
    if not package:
        return None
    return next((stage for stage, files in STAGES.items() if path.startswith(files)), None)


async def _look_into(worker: Process, spy: str, file: Path) -> Counter[str]:
    """Return how many samples each stage had."""
    options = ("--duration", str(SECONDS), "--rate", str(RATE), "--format", "raw", "--full-filenames")
    looking = await asyncio.create_subprocess_exec(
        *(spy, "record", *options, "--output", str(file), "--pid", str(worker.pid)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await looking.communicate()
    if looking.returncode:
        sys.exit(f"py-spy may not look into a worker here: {said.decode(errors='replace').strip()}")
    found: Counter[str] = Counter()
    for line in file.read_text(encoding="utf-8").splitlines():  # noqa: ASYNC240 - nobody else waits
        stack, _, samples = line.rpartition(" ")
        found[_owner(frame.rpartition("(")[2] for frame in reversed(stack.split(";")))] += int(samples)
    return found


def _owner(filenames: Iterable[str]) -> str:
    """Return to whom a stack belongs; its innermost file comes first."""
    connections = ""
    for filename in filenames:
        if stage := stage_of(filename):
            return stage
        theirs = next((name for part, name in KAFKA.items() if part in filename), "")
        if theirs and theirs != KAFKA["aiokafka/"]:
            return theirs
        connections = connections or theirs
    return connections or LOOP


if __name__ == "__main__":
    asyncio.run(main())
