"""A clock that stands still until a test moves it."""

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta


class FakeClock:
    """A `dispatcher.clock.Clock` in a test's hand: time passes in `advance` and nowhere else."""

    def __init__(self, now: datetime = datetime(2026, 11, 24, 18, tzinfo=UTC)) -> None:
        self._start = now
        self._passed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return 1000.0 + self._passed

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._passed)

    def epoch(self) -> float:
        return self.now().timestamp()

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._passed + seconds, next(self._order), woken))
        await woken

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass; who has slept long enough goes on at the loop's next turn."""
        self._passed += seconds
        while self._sleepers and self._sleepers[0][0] <= self._passed:
            woken = heapq.heappop(self._sleepers)[2]
            if not woken.done():
                woken.set_result(None)
