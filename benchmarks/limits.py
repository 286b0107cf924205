"""How exactly do rate limiters hold a rate, how much do they let through at once, and what does waiting cost?

A limit of 100/s with always somebody waiting for it, one and a thousand at a time. The dispatcher's own is the whole
pacing (lanes, gates, pacer, timer); it aims at 99 % of a rate (`pacing/gates.py`). The others are used as their
documentation shows; asyncio-throttle also in slices of 100 ms, which is how it is smooth.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import uvloop

from benchmarks import report
from benchmarks.paced import PacedFleet, peak
from dispatcher.clock import SystemClock
from dispatcher.domain.rate import Rate

RATE: Final = 100
SECONDS: Final = 8.0
CROWDS: Final = (1, 1000)

clock = SystemClock()
Take = Callable[[], Awaitable[Any]]


async def main() -> None:
    """Run the benchmark."""
    figures: dict[str, Any] = {"rate": f"{RATE}/s", "seconds": SECONDS}
    cpu = time.process_time()
    fleet = PacedFleet(1, Rate(RATE, "s"), clock)
    await fleet.run_for(SECONDS)
    (times,) = fleet.left.values()
    # Its messages wait in a queue; how many does not matter.
    figures |= _figures("dispatcher", times, time.process_time() - cpu)
    for name, make in LIMITERS.items():
        try:
            version(name.partition(",")[0])
        except PackageNotFoundError:
            print(f"{name} is left out: it is not installed")
            continue
        for crowd in CROWDS:
            cpu = time.process_time()
            times = await _take_for(make(), crowd, SECONDS)
            figures |= _figures(f"{name}, {crowd} waiting", times, time.process_time() - cpu)
    report.write("limits", figures)


async def _take_for(take: Take, crowd: int, seconds: float) -> list[float]:
    """Let a *crowd* of tasks *take* what they get for so long; return when they got it."""
    times: list[float] = []

    async def insist() -> None:
        while True:
            await take()
            times.append(clock.monotonic())

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as tasks:
            for number in range(crowd):
                tasks.create_task(insist(), name=f"waiter-{number}")
    return times


def _figures(name: str, times: list[float], cpu: float) -> dict[str, Any]:
    return {
        f"{name}: % of the rate": round(100 * len(times) / (RATE * SECONDS), 1),
        f"{name}: most in any second": peak(times, 1.0),
        f"{name}: most in any 100 ms": peak(times, 0.1),
        f"{name}: % of a core": round(100 * cpu / SECONDS, 1),
    }


def _asyncio_throttle() -> Take:
    return _entering(import_module("asyncio_throttle").Throttler(rate_limit=RATE, period=1.0))


def _asyncio_throttle_sliced() -> Take:
    made = import_module("asyncio_throttle").Throttler(rate_limit=RATE // 10, period=0.1, retry_interval=0.002)
    return _entering(made)


def _aiolimiter() -> Take:
    return _entering(import_module("aiolimiter").AsyncLimiter(RATE, 1.0))


def _pyrate_limiter() -> Take:
    module = import_module("pyrate_limiter")
    limiter = module.Limiter(module.Rate(RATE, module.Duration.SECOND))

    async def take() -> None:
        await limiter.try_acquire_async("sender")

    return take


def _entering(limiter: Any) -> Take:
    async def take() -> None:
        async with limiter:
            pass

    return take


LIMITERS: Final[dict[str, Callable[[], Take]]] = {
    "asyncio-throttle": _asyncio_throttle,
    "asyncio-throttle, 100 ms": _asyncio_throttle_sliced,
    "aiolimiter": _aiolimiter,
    "pyrate-limiter": _pyrate_limiter,
}

if __name__ == "__main__":
    uvloop.run(main())
