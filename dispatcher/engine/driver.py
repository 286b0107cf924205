"""Runs the pipeline when its time has come: one timer for all that waits."""

import asyncio
from math import inf

from dispatcher.clock import Clock
from dispatcher.engine.pipeline import Pipeline

# What falls due within a tick of the last run leaves together: that the loop wakes up costs as much as a message does.
# The buckets' leeway makes up for the delay. Seconds.
TICK = 0.005
# uvloop's timers take whole milliseconds, rounded: one that rings too early rings for nothing. Seconds.
ROUNDING = 0.0005


class Driver:
    """Calls `Pipeline.run` when it is due, once a tick at most; `wake` it after anything that may have changed when.

    After what lets many messages leave together have it `catch_up`: they need not wait for the tick's end. What comes
    many times in a round of the loop, as answers do, has it `catch_up_soon`: once, for all of them.
    """

    def __init__(self, pipeline: Pipeline, clock: Clock) -> None:
        self._pipeline = pipeline
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = inf
        self._ran_at = -inf
        self._catches_up_soon = False

    def wake(self) -> None:
        """See when the pipeline is due, and be there."""
        if self._armed_for <= self._ran_at + TICK:
            return  # it cannot be there earlier
        due = self._pipeline.next_due()
        if due >= self._armed_for:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = due
        # At once, when it has not run lately; though not before whatever woke it has gone on.
        delay = max(due, self._ran_at + TICK) - self._clock.monotonic()
        self._timer = self._loop.call_later(delay + ROUNDING if delay > 0 else 0.0, self._tick)

    def catch_up_soon(self) -> None:
        """Catch up when the loop has dealt with what it has just read."""
        if not self._catches_up_soon:
            self._catches_up_soon = True
            self._loop.call_soon(self._catch_up_now)

    def catch_up(self) -> None:
        """Let leave now what has just been let go; what only fell due since the last run keeps to its tick."""
        if self._pipeline.next_due() <= self._ran_at:
            if self._timer is not None:
                self._timer.cancel()
            self._tick()
        else:
            self.wake()

    def _catch_up_now(self) -> None:
        self._catches_up_soon = False
        self.catch_up()

    def _tick(self) -> None:
        self._timer, self._armed_for = None, inf
        self._ran_at = self._clock.monotonic()
        self._pipeline.run()
        self.wake()
