"""The only place that knows what time it is: everybody else is handed a clock."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What a part that has to know the time is given."""

    def monotonic(self) -> float:
        """Return seconds that never jump; only differences mean something."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""

    def epoch(self) -> float:
        """Return the wall-clock time in seconds of the epoch."""

    async def sleep(self, seconds: float) -> None:
        """Come back *seconds* later on the monotonic clock."""


class SystemClock:
    """The machine's clocks.

    ``loop.time()`` is not used: uvloop ticks it in whole milliseconds.
    """

    monotonic = staticmethod(time.monotonic)  # noqa: TID251 - this is the place
    epoch = staticmethod(time.time)  # noqa: TID251 - same

    @staticmethod
    def now() -> datetime:
        """Return the wall-clock time, aware, in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - this is the place

    @staticmethod
    async def sleep(seconds: float) -> None:
        """Come back *seconds* later."""
        await asyncio.sleep(seconds)
