"""Runs the pipeline when its time has come: one timer for all that waits."""

import asyncio
from math import inf

from dispatcher.clock import Clock
from dispatcher.engine.pipeline import Pipeline

# What falls due within a tick leaves together; the buckets' leeway makes up for the delay. Seconds.
TICK = 0.002


class Driver:
    """Calls `Pipeline.run` when it is due; `wake` it after anything that may have changed when that is."""

    def __init__(self, pipeline: Pipeline, clock: Clock) -> None:
        self._pipeline = pipeline
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = inf

    def wake(self) -> None:
        """See when the pipeline is due, and be there."""
        due = self._pipeline.next_due()
        if due >= self._armed_for:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = due
        self._timer = self._loop.call_later(max(TICK, due - self._clock.monotonic()), self._tick)

    def _tick(self) -> None:
        self._timer, self._armed_for = None, inf
        self._pipeline.run()
        self.wake()
