"""What does it cost that nothing is lost and nothing sent twice: a worker with its journal, beside one without?

The one without writes nothing down, and hands messages back all the same. They come back together, as they do when a
page is safe, since a worker has less to do for many at once; beside it each for itself, as soon as it may. With few in
flight: of many, more would come back together with the journal than without, which flatters it. The three take turns,
and each round has ratios of its own, since a machine's pace changes.
"""

import asyncio
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.bounds import insist, verdict
from benchmarks.stage import PROGRAM
from benchmarks.throughput import run_once
from dispatcher.broker.local_kafka import LocalKafka
from dispatcher.delivery.ledger import TICK, Ledger
from dispatcher.domain.journal import Intent
from dispatcher.domain.message import Message

ROUNDS = 7
IN_FLIGHT = 100
# What the journal may cost, in CPU a message.
BOUND = 1.15
PROGRAMS = {
    "with the journal": PROGRAM,
    "without, a tick's together": ("-m", "benchmarks.journal", str(TICK)),
    "without, each at once": ("-m", "benchmarks.journal", "0"),
}


async def main() -> None:
    """Run the benchmark."""
    costs: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with LocalKafka() as kafka, tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            for name, program in PROGRAMS.items():
                costs[name].append((await run_once(Path(folder), kafka.address, program, IN_FLIGHT))[1])
    with_journal, *without = costs.values()
    ratios = [[one / other for one, other in zip(with_journal, others, strict=True)] for others in without]
    medians = [statistics.median(of_one) for of_one in ratios]
    figures: dict[str, Any] = {
        f"us CPU a message {name}, median": round(statistics.median(cost), 1) for name, cost in costs.items()
    }
    for name, median, of_rounds in zip(list(costs)[1:], medians, ratios, strict=True):
        figures[f"with/{name}, median of rounds"] = round(median, 3)
        figures[f"with/{name}, every round"] = [round(ratio, 3) for ratio in of_rounds]
    figures[f"at most {BOUND - 1:.0%}"] = verdict(holds=max(medians) <= BOUND)
    report.write("journal", figures)
    insist(figures)


class NoLedger(Ledger):
    """Writes nothing down; hands the messages back after *pause* seconds."""

    pause = 0.0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._handed: list[Message] = []

    def intend(self, message: Message, intent: Intent, ahead: float = 0.0) -> None:  # noqa: ARG002 - a ledger's signature
        """Let *message* go, though not before the loop's next turn: the pipeline is not re-entered."""
        if not self._handed:
            asyncio.get_running_loop().call_later(self.pause, self._hand_all_back)
        self._handed.append(message)

    def void(self, message: Message) -> None:
        """Nothing was written, so nothing is taken back."""

    def _hand_all_back(self) -> None:
        messages, self._handed = self._handed, []
        self._intended(messages)


def run_without() -> None:
    """Run the program without a journal."""
    from dispatcher.__main__ import main as run  # noqa: PLC0415 - `main` is the benchmark's
    from dispatcher.app import worker  # noqa: PLC0415 - the program's own process alone needs it

    NoLedger.pause = float(sys.argv.pop(1))
    setattr(worker, "Ledger", NoLedger)  # noqa: B010 - mypy takes what a module imports for its own
    run()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run_without()
    else:
        asyncio.run(main())
