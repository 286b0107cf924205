"""How much memory do ten million suppressed numbers take, and how long does it take to look one up?"""

import resource
from random import Random
from time import perf_counter

from benchmarks import report
from dispatcher.compliance.suppression import SuppressionList
from dispatcher.domain.suppression import EVERYWHERE

NUMBERS = 10_000_000
LOOKED_UP = 200_000


def main() -> None:
    """Run the benchmark."""
    random = Random(1)
    at_start = _peak()
    suppressions = SuppressionList()
    began = perf_counter()
    for _ in range(NUMBERS):
        suppressions.suppress(f"+1{random.randrange(2_000_000_000, 10_000_000_000)}", EVERYWHERE)
    filled = perf_counter() - began
    strangers = [f"+1{random.randrange(2_000_000_000, 10_000_000_000)}" for _ in range(LOOKED_UP)]
    report.write(
        "suppressions",
        {
            "numbers": len(suppressions),
            "MB more than at the start": round((_peak() - at_start) / 1e6),
            "us to put one in": round(filled / NUMBERS * 1e6, 2),
            "us to look one up": _look_up(suppressions, strangers),
            "us to look one up in an empty list": _look_up(SuppressionList(), strangers),
        },
    )


def _look_up(suppressions: SuppressionList, numbers: list[str]) -> float:
    began = perf_counter()
    for number in numbers:
        suppressions.covering(number, "marketing")
    return round((perf_counter() - began) / len(numbers) * 1e6, 2)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


if __name__ == "__main__":
    main()
