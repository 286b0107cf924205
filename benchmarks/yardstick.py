"""How slow this machine is today, by a program that is not ours: a part of a core says little without that.

The bounds on parts of a core come from a machine on which the Go program (net/http, `peers/go`) took 62 us of CPU a
message. It is measured in the same run, before and after. That explains a figure; what is judged is the figure itself.
"""

import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.message_cost import SCENES, Bench, on_cores
from benchmarks.peers.contenders import YARDSTICK, contenders_of
from dispatcher.broker.local_kafka import LocalKafka

THERE: Final = 62.0
ROUNDS: Final = 2


async def measure(kafka: LocalKafka, core: int) -> list[float]:
    """Return what a message costs the Go program on *core*, in microseconds of CPU; nothing where there is no Go."""
    others = os.sched_getaffinity(0) - {core} or {core}
    with on_cores(others), tempfile.TemporaryDirectory() as folder:
        yardstick = [one for one in contenders_of(Path(folder)) if one.name == YARDSTICK]
        bench = Bench(SCENES["http"], Path(folder), kafka, {core}, None)
        costs = await bench.costs(yardstick, ROUNDS)
    return [cost.us for runs in costs.values() for cost in runs]


def figures(us: Sequence[float], core: float) -> dict[str, Any]:
    """Return what *core* %, measured here, would have been there, as the yardstick took *us*; nothing without one."""
    if not us:
        return {}
    slower = statistics.median(us) / THERE
    return {
        f"us CPU a message of the yardstick, {YARDSTICK}, every run": [round(one, 1) for one in us],
        "slower than the machine of the bounds by": round(slower, 2),
        "% of a core, on the machine of the bounds": round(core / slower, 1),
    }
