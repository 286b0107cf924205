"""A worker is killed with up to 100,000 unsettled jobs in hand: how soon does its heir send, and at the whole rate?

The group gives a dead member's partitions away when its session ends, 15 s later; the clock starts when they are
assigned to the heir, which then reads what the dead one left, and the jobs anew. It ends with the heir's first request
at the stand-in, and where the first second begins that has the sender's whole rate.
"""

import asyncio
import os
import sys
import tempfile
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import report
from benchmarks.stage import Stage, job, open_stage, until
from dispatcher.broker.local_kafka import LocalKafka
from dispatcher.clock import SystemClock

WINDOWS: Final = (1_000, 10_000, 100_000)
RUNS: Final = 3
RATE: Final = 500
# The dead one has sent so many: its journal and its results are to be read, too. By then all is in hand.
SENT: Final = 1_500
# A sender is driven at 99 % of its rate, and a second holds a beat more or less.
WHOLE: Final = 0.97

clock = SystemClock()


async def main() -> None:
    """Run the benchmark."""
    load = os.getloadavg()[0]
    runs: dict[int, list[dict[str, float]]] = {window: [] for window in WINDOWS}
    with LocalKafka() as kafka, tempfile.TemporaryDirectory() as folder:
        for _ in range(RUNS):
            for window in WINDOWS:
                runs[window].append(await run_once(Path(folder), kafka.address, window))
    figures: dict[str, Any] = {"load average before and after": [round(load, 1), round(os.getloadavg()[0], 1)]}
    for window, measured in runs.items():
        figures |= report.of_runs(measured, f"{window} in hand: ")
    report.write("recovery", figures)


async def run_once(folder: Path, kafka: str, window: int) -> dict[str, float]:
    """Return how long each part of the recovery took."""
    async with open_stage(
        folder,
        kafka,
        senders=[{"number": "72345", "kind": "short_code", "account": "main", "rate": f"{RATE}/s"}],
        simulator={"callbacks": False, "concurrency": 1000},
    ) as stage:
        await stage.publish(job("recovery", row, "marketing") for row in range(window + SENT))
        await stage.start_simulator()
        doomed = await stage.start_worker("doomed")

        async def has_sent() -> bool:
            return bool((await stage.report())["messages"] >= SENT)

        await until(has_sent, within=60, what=f"{SENT} messages")
        in_hand = sum((await stage.metric("dispatcher_jobs_in_hand")).values())
        await doomed.kill()
        killed = clock.monotonic()
        diary = folder / f"{stage.config['kafka']['group_id']}.diary"
        heir = await stage.start_worker("heir", program=("-m", "benchmarks.recovery", str(diary)))
        assigned = float(diary.read_text(encoding="utf-8").split()[-1])
        took = await _took(stage, assigned, killed)
        await heir.stop()
        return {"jobs": in_hand, "s until the group had given them away": assigned - killed, **took}


async def _took(stage: Stage, assigned: float, killed: float) -> dict[str, float]:
    """Return how long after *assigned* the heir sent its first, and when it was at the rate."""
    took: dict[str, float] = {}

    async def is_at_rate() -> bool:
        arrived = [message["at"] for message in await stage.accepted() if message["at"] > killed + 1.0]
        whole = at_rate(arrived)
        if whole is None:
            return False
        took["s to the first request"] = arrived[0] - assigned
        took["s to the rate"] = whole - assigned
        return True

    await until(is_at_rate, within=60, what="the rate")
    return took


def at_rate(arrived: Sequence[float]) -> float | None:
    """Return when the first second of *arrived* begins that has the whole rate; None: there is none yet."""
    for number, at in enumerate(arrived):
        if arrived[-1] < at + 1.0:
            return None
        if bisect_left(arrived, at + 1.0) - number >= WHOLE * RATE:
            return at
    return None


def run_with_a_diary() -> None:
    """Run the program, and write down when partitions are assigned to it."""
    from dispatcher.__main__ import main as run  # noqa: PLC0415 - `main` is the benchmark's
    from dispatcher.intake.consumer import Intake  # noqa: PLC0415 - the program's own process alone needs it

    intake: Any = Intake
    diary = Path(sys.argv.pop(1))
    assigned = intake._assigned  # noqa: SLF001 - when it is told of its partitions, nobody is told by it

    async def noted(self: Any, partitions: Any) -> None:
        if partitions:
            with diary.open("a", encoding="utf-8") as file:  # noqa: ASYNC230 - a line
                file.write(f"{clock.monotonic()}\n")
        await assigned(self, partitions)

    intake._assigned = noted  # noqa: SLF001 - same
    run()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run_with_a_diary()
    else:
        asyncio.run(main())
