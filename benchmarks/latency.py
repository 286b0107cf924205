"""How long after a job is appended to Kafka does its POST arrive, while a worker does half of what it can?

First a backlog shows what it can. Then jobs come at half of that, whatever becomes of them, and each is timed from when
it was due to be appended to when the stand-in had its request. And last: urgent jobs, while bulk waits at a sender that
is as fast as it may be. Who shares the machine with others measures them, too, unless it is run with `chrt -r 1`. Where
Kafka, the stand-in and this program use up their cores, what is timed is their own queue: how busy they were is said.

    python -m benchmarks.latency [--runs 3]
"""

import argparse
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks import bounds, report
from benchmarks.arrivals import append_steadily
from benchmarks.stage import MAIN, Process, Stage, cpu_seconds, job, open_stage, until
from benchmarks.webhooks import percentile
from dispatcher.broker.local_kafka import LocalKafka
from dispatcher.clock import SystemClock

BACKLOG: Final = 30_000
WARM_UP: Final = 5.0
SECONDS: Final = 15.0
MUST_HOLD: Final = 30.0
URGENT: Final = 50
LIMITED: Final = 500
PERCENTILES: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
FAST: Final = {"low": "0ms", "high": "0ms", "tail": "0ms", "tail_share": "0%"}

clock = SystemClock()


async def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    wanted = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(cores[1:]) or set(cores))
    load = os.getloadavg()[0]
    runs: list[dict[str, float]] = []
    with LocalKafka() as kafka, tempfile.TemporaryDirectory() as folder:
        for _ in range(wanted.runs):
            async with _stage(Path(folder), kafka.address, 1_000_000) as stage:
                runs.append(await at_half_load(stage, kafka, cores[0]))
        async with _stage(Path(folder), kafka.address, LIMITED) as stage:
            urgent = await urgent_under_bulk(stage, cores[0])
    figures: dict[str, Any] = {"load average before and after": [round(load, 1), round(os.getloadavg()[0], 1)]}
    for name in runs[0]:
        values = [run[name] for run in runs]
        figures[f"{name}, median of runs"] = sorted(values)[len(values) // 2]
        figures[f"{name}, every run"] = values
    p99 = figures["p99 ms, median of runs"]
    figures[f"p99 below {MUST_HOLD:g} ms"] = bounds.verdict(holds=p99 < MUST_HOLD)
    figures |= {f"{URGENT}/s urgent while bulk waits at {LIMITED}/s: {name}": ms for name, ms in urgent.items()}
    report.write("latency", figures)
    bounds.insist(figures)


def _stage(folder: Path, kafka: str, rate: int) -> Any:
    return open_stage(
        folder,
        kafka,
        senders=[{"number": "72345", "kind": "short_code", "account": "main", "rate": f"{rate}/s"}],
        accounts={"main": {**MAIN, "max_concurrency": 100}},
        twilio={"family_rate": "1000000/s"},
        simulator={"callbacks": False, "concurrency": 1000, "latency": FAST},
    )


async def at_half_load(stage: Stage, kafka: LocalKafka, core: int) -> dict[str, float]:
    """Return the percentiles (ms) of what came at half the rate of a backlog, that rate, and how busy all were."""
    await stage.publish(job("backlog", row, "marketing") for row in range(BACKLOG))
    simulator, worker = await _start(stage, core)
    full = await _drained(stage)
    rate = full / 2
    rows = range(BACKLOG, BACKLOG + int((WARM_UP + SECONDS) * rate))
    pids = {"the worker": [worker.pid], "Kafka, the stand-in and this": [kafka.pid or 0, simulator.pid, os.getpid()]}
    before, began = _used(pids), clock.monotonic()
    due = await append_steadily(stage, (job("steady", row, "marketing") for row in rows), rate)
    seconds = clock.monotonic() - began
    busy = {f"% of a core, {who}": round(100 * (cpu - before[who]) / seconds, 1) for who, cpu in _used(pids).items()}
    return {"messages/s of a backlog": round(full), **busy, **_percentiles(await _times(stage, due))}


def _used(pids: Mapping[str, Iterable[int]]) -> dict[str, float]:
    """Return the CPU seconds that processes have used, together, by name."""
    return {who: sum(cpu_seconds(pid) for pid in of_them) for who, of_them in pids.items()}


async def urgent_under_bulk(stage: Stage, core: int) -> dict[str, float]:
    """Return the percentiles (ms) of urgent jobs that overtake a bulk backlog."""
    bulk = int((WARM_UP + SECONDS + 5) * LIMITED)
    await stage.publish(job("bulk", row, "marketing") for row in range(bulk))
    await _start(stage, core)
    rows = range(bulk, bulk + int((WARM_UP + SECONDS) * URGENT))
    due = await append_steadily(stage, (job("urgent", row, "marketing") for row in rows), URGENT, "urgent")
    return _percentiles(await _times(stage, due))


async def _start(stage: Stage, core: int) -> tuple[Process, Process]:
    simulator = await stage.start_simulator()
    worker = await stage.start_worker()
    os.sched_setaffinity(worker.pid, {core})
    return simulator, worker


async def _drained(stage: Stage) -> float:
    """Return how many messages of the backlog a second arrived, once they all have."""

    async def all_are_there() -> bool:
        return bool((await stage.report())["messages"] >= BACKLOG)

    await until(all_are_there, within=60, what="the backlog")
    arrived: list[float] = [message["at"] for message in await stage.accepted()]
    first, last = arrived[len(arrived) // 10], arrived[-1]
    return 0.9 * len(arrived) / (last - first)


async def _times(stage: Stage, due: dict[str, float]) -> list[float]:
    """Return how long after they were *due* requests arrived, the warm-up left out."""

    async def all_have_arrived() -> bool:
        seen = {message["to"] for message in await stage.accepted()}
        return due.keys() <= seen

    await until(all_have_arrived, within=60, what="every message")
    begin = min(due.values()) + WARM_UP
    return [
        message["at"] - at
        for message in await stage.accepted()
        if (at := due.get(message["to"])) is not None and at >= begin
    ]


def _percentiles(times: Iterable[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {f"{name} ms": percentile(ordered, share) for name, share in PERCENTILES.items()}


if __name__ == "__main__":
    uvloop.run(main())
