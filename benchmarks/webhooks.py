"""How long is Twilio kept waiting at 2,000 callbacks a second, by a receiver that has one core?

Beside it a plain aiohttp handler that does nothing, under the same callers. Callers and Kafka share the other cores.
Times run from when a callback was due to its answer, so that a receiver that stalls is not given time. Who shares the
machine with others measures them, too, unless it is run with `chrt -r 1`.
"""

import asyncio
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web

from benchmarks import report
from benchmarks.callers import Callers
from benchmarks.stage import MAIN, Process, Stage, free_port, open_stage, until
from dispatcher.broker.local_kafka import LocalKafka

RATE = 2000
WARM_UP, SECONDS = 3, 20
RUNS = 3
ITS_CORE = {0}


def percentile(times: Sequence[float], share: float) -> float:
    """Return, in milliseconds, what *share* of *times* do not exceed."""
    return round(1000 * sorted(times)[int(share * len(times))], 1)


async def measure(stage: Stage, process: Process, url: str) -> dict[str, float]:
    """Call *process* at *url* for a while; return the percentiles of its answers (ms) and its cost (us of CPU)."""
    os.sched_setaffinity(process.pid, ITS_CORE)

    async def answers() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        except OSError:
            return False
        writer.close()
        return True

    await until(answers, within=30, what=url)
    for seconds in (WARM_UP, SECONDS):
        callers = Callers(url, MAIN)
        cpu = process.cpu_seconds()
        await callers.call([f"{stage.folder.name}-{number:06d}" for number in range(seconds * RATE)], rate=RATE)
        cpu = process.cpu_seconds() - cpu
        callers.close()
        if callers.refused:
            raise RuntimeError(f"{len(callers.refused)} callbacks were refused")
    times = callers.answer_times
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
    return {name: percentile(times, share) for name, share in shares.items()} | {"us CPU": cpu / len(times) * 1e6}


async def run_once(folder: Path, kafka: str) -> tuple[dict[str, float], dict[str, float]]:
    """Return the figures of the receiver and of the handler that does nothing."""
    address = f"127.0.0.1:{free_port()}"
    webhooks = {"public_url": f"http://{address}", "listen": address, "spool": str(folder / "spool")}
    async with open_stage(folder, kafka, webhooks=webhooks) as stage:
        process = await stage.start("receive", "-c", str(stage.config_file), name="receiver")
        receiver = await measure(stage, process, f"http://{address}")
        await process.stop()
        port = free_port()
        process = await stage.start(str(port), name="nothing", program=("-m", "benchmarks.webhooks"))
        return receiver, await measure(stage, process, f"http://127.0.0.1:{port}")


async def main() -> None:
    """Run the benchmark."""
    others = os.sched_getaffinity(0) - ITS_CORE
    os.sched_setaffinity(0, others or ITS_CORE)
    with LocalKafka() as kafka, tempfile.TemporaryDirectory() as folder:
        runs = [await run_once(Path(folder), kafka.address) for _ in range(RUNS)]
    figures: dict[str, Any] = {"callbacks/s": RATE}
    for name, measured in zip(("receiver", "a handler that does nothing"), zip(*runs, strict=True), strict=True):
        for figure in measured[0]:
            unit = "" if figure == "us CPU" else " ms"
            values = [round(run[figure], 1) for run in measured]
            figures[f"{name}: {figure}{unit}, median of runs"] = statistics.median(values)
            figures[f"{name}: {figure}{unit}, every run"] = values
    report.write("webhooks", figures)


def do_nothing(port: int) -> None:
    """Answer every callback at once."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/twilio/status", answer)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        do_nothing(int(sys.argv[1]))
    else:
        asyncio.run(main())
