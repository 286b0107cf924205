"""How exactly is each of 1, 100 and 5,000 senders driven, what is wasted, and what does it cost?

First the pacing alone, on a real loop with nothing behind it, then the whole dispatcher with 5,000 senders of 1/s, as
the stand-in saw them. The pacing alone is measured as it is in a checkout: compiled, its driver takes nothing but the
pipeline. A sender is driven at 99 % of its rate (`pacing/gates.py`); that is what "wasted" begins with.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks import bounds, report, yardstick
from benchmarks.paced import PacedFleet, peak
from benchmarks.stage import MAIN, job, open_stage, until
from dispatcher.broker.local_kafka import LocalKafka
from dispatcher.clock import SystemClock
from dispatcher.domain.rate import Rate

WARM_UP: Final = 15.0
MANY: Final = 5000
MOST_OFF: Final = 3.0
MOST_CORE: Final = 45.0

ALONE_ONLY: Final = "--alone"

clock = SystemClock()


@dataclass(frozen=True, slots=True)
class Drive:
    """So many *senders* of *rate* a second, driven for *seconds*."""

    senders: int
    rate: float
    seconds: float


ALONE: Final = (Drive(1, 100.0, 15.0), Drive(100, 10.0, 15.0), Drive(MANY, 1.0, 20.0))
WHOLE: Final = Drive(MANY, 1.0, 45.0)


async def main() -> None:
    """Run the benchmark."""
    if ALONE_ONLY in sys.argv:
        print(json.dumps(await _every_drive_alone()))
        return
    load = os.getloadavg()[0]
    figures = await asyncio.to_thread(_from_a_checkout)
    figures |= await _whole(WHOLE, f"dispatcher, {WHOLE.senders} x {WHOLE.rate:g}/s")
    figures["load average before and after"] = [round(load, 1), round(os.getloadavg()[0], 1)]
    report.write("pacing", figures)
    bounds.insist(figures)


def _from_a_checkout() -> dict[str, Any]:
    """Return what this measures of the pacing alone, in a process that sees nothing that was compiled."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONSAFEPATH"}}
    command = [sys.executable, "-m", "benchmarks.pacing", ALONE_ONLY]
    printed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout
    figures: dict[str, Any] = json.loads(printed)
    return figures


async def _every_drive_alone() -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for drive in ALONE:
        figures |= await _alone(drive, f"pacing alone, {drive.senders} x {drive.rate:g}/s")
    return figures | await _alone(Drive(MANY, 1.0, 10.0), f"pacing alone, 1 of {MANY} x 1/s busy", busy=1)


async def _alone(drive: Drive, name: str, busy: int | None = None) -> dict[str, Any]:
    fleet = PacedFleet(drive.senders, Rate(drive.rate, "s"), clock, busy=busy)
    await fleet.run_for(2.0)
    fleet.left.clear()
    cpu = time.process_time()
    await fleet.run_for(drive.seconds)
    cpu = time.process_time() - cpu
    driven = busy or drive.senders
    return {f"{name}: {what}": value for what, value in _figures(fleet.left, driven, drive, cpu).items()}


async def _whole(drive: Drive, name: str) -> dict[str, Any]:
    cores = sorted(os.sched_getaffinity(0))
    numbers = [f"+1206{5_000_000 + number:07d}" for number in range(drive.senders)]
    rate = f"{drive.rate:g}/s"
    with LocalKafka() as kafka, tempfile.TemporaryDirectory() as folder:
        us = await yardstick.measure(kafka, cores[0])
        async with open_stage(
            Path(folder),
            kafka.address,
            senders=[{"number": one, "kind": "long_code", "account": "main", "rate": rate} for one in numbers],
            # The stand-in answers after 115 ms on average: 575 are in flight.
            accounts={"main": {**MAIN, "max_concurrency": 1000}},
            pools={"marketing": {"senders": numbers}},
            twilio={"family_rate": "1000000/s"},
            simulator={"callbacks": False, "concurrency": 2000},
        ) as stage:
            jobs = int(drive.senders * drive.rate * (WARM_UP + drive.seconds + 20))
            await stage.publish(job("many", row, "marketing") for row in range(jobs))
            await stage.start_simulator()
            worker = await stage.start_worker()
            os.sched_setaffinity(worker.pid, cores[:1])

            async def flows() -> bool:
                return bool((await stage.report())["messages"])

            try:
                await until(flows, within=60, what="the first message")
            except TimeoutError:
                return {f"{name}: sends": bounds.verdict(holds=False)}
            await asyncio.sleep(WARM_UP)
            cpu, begin = worker.cpu_seconds(), clock.monotonic()
            await asyncio.sleep(drive.seconds)
            cpu, end = worker.cpu_seconds() - cpu, clock.monotonic()
            memory = worker.memory()
            await worker.stop()
            left = _between(begin, end, await stage.accepted())
        us += await yardstick.measure(kafka, cores[0])
    figures = _figures(left, drive.senders, drive, cpu)
    figures["MB"] = round(memory / 1e6)
    off = max(100 - figures["% of its rate, the slowest sender"], figures["% of its rate, the fastest sender"] - 100)
    figures[f"every sender within {MOST_OFF:g} % of its rate"] = bounds.verdict(holds=off <= MOST_OFF)
    figures[f"below {MOST_CORE:g} % of a core"] = bounds.verdict(holds=figures["% of a core"] < MOST_CORE)
    figures |= yardstick.figures(us, figures["% of a core"])
    return {f"{name}: {what}": value for what, value in figures.items()}


def _between(begin: float, end: float, accepted: Iterable[Mapping[str, Any]]) -> Mapping[str, Sequence[float]]:
    left: defaultdict[str, list[float]] = defaultdict(list)
    for message in accepted:
        if begin <= message["at"] <= end:
            left[message["from"]].append(message["at"])
    return left


def _figures(left: Mapping[str, Sequence[float]], senders: int, drive: Drive, cpu: float) -> dict[str, Any]:
    """Return what is to be said of when messages *left*, by sender."""
    # From the first to the last: a count would be off by one in so many.
    rates = sorted((len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0 for times in left.values())
    rates = [0.0] * (senders - len(rates)) + rates
    return {
        "% of its rate, the slowest sender": round(100 * rates[0] / drive.rate, 2),
        "% of its rate, the median sender": round(100 * rates[len(rates) // 2] / drive.rate, 2),
        "% of its rate, the fastest sender": round(100 * rates[-1] / drive.rate, 2),
        "% of all capacity not used": round(100 - 100 * sum(rates) / (senders * drive.rate), 2),
        "most of a sender in any second": max(peak(times, 1.0) for times in left.values()),
        "most of a sender in any 100 ms": max(peak(times, 0.1) for times in left.values()),
        "% of a core": round(100 * cpu / drive.seconds, 1),
    }


if __name__ == "__main__":
    uvloop.run(main())
