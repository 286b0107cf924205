"""What it costs to take a message's news into the view, by how many messages there are already: a flat line is right.

`python -m benchmarks.tracking [ROWS]` has each message accepted, sent and delivered, its news 3,000 messages apart; ids
are in the order of sending, or (`random`) in none.
"""

import hashlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import thread_time
from typing import Any

from benchmarks.report import write
from dispatcher.tracking.lifecycle import Conclusion, News
from dispatcher.tracking.view import View

BATCH = 1000
APART = 3000
TENTHS = 10
CAMPAIGN = 200_000


def _in_order(row: int) -> str:
    return f"spring-{row:08d}"


def _random(row: int) -> str:
    return hashlib.sha256(str(row).encode()).hexdigest()[:32]


def measure(folder: Path, rows: int, mid: Callable[[int], str]) -> dict[str, Any]:
    """Return the news a second of processor time in each tenth of *rows*, and the file's size."""
    file = folder / "tracking.sqlite"
    view = View(file, poll_after=300.0)
    rates = []
    used = 0.0
    for first in range(0, rows, BATCH):
        events: list[News | Conclusion] = []
        for row in range(first, first + BATCH):
            events.append(_accepted(row, mid(row)))
            for status, behind in (("sent", APART), ("delivered", 2 * APART)):
                if row >= behind:
                    events.append(_news(row - behind, mid(row - behind), status, row))
        began = thread_time()
        view.apply(events)
        view.commit({("callbacks", 0): first})
        used += thread_time() - began
        if (first + BATCH) % (rows // TENTHS) == 0:
            rates.append(round(3 * rows / TENTHS / used))
            used = 0.0
    view.close()
    return {"news_per_cpu_second_by_tenth": rates, "bytes_a_message": round(file.stat().st_size / rows)}


def _accepted(row: int, mid: str) -> Conclusion:
    campaign, sender = f"campaign-{row // CAMPAIGN}", f"sender-{row % 20}"
    return Conclusion(
        mid, campaign, "+12065550142", sender, "main", "att", f"SM{row:032x}", "accepted", None, 1, 1, row / 1000
    )


def _news(row: int, mid: str, status: str, now: int) -> News:
    return News(mid, f"SM{row:032x}", 1, status, None, f"sender-{row % 20}", "+12065550142", "main", now / 1000)


def main() -> None:
    """Measure both kinds of ids."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    figures: dict[str, Any] = {"rows": rows}
    for name, mid in (("in_order", _in_order), ("random", _random)):
        with tempfile.TemporaryDirectory() as folder:
            figures[name] = measure(Path(folder), rows, mid)
    write("tracking", figures)


if __name__ == "__main__":
    main()
