"""Deadlines of many things by one timer: moving one costs a comparison."""

from collections import defaultdict
from collections.abc import Iterator
from math import ceil, inf
from typing import Generic, TypeVar

from dispatcher.clock import Clock

TICK = 0.1


class Timed:
    """What has a deadline; only the wheel sets it."""

    __slots__ = ("deadline", "looked_at")

    def __init__(self) -> None:
        self.deadline = inf
        self.looked_at = inf


T = TypeVar("T", bound=Timed)


class TimerWheel(Generic[T]):
    """Tells what is overdue, at most two ticks late and never early.

    A thing stands in the slot of one tick, and is looked at when that comes: by then its deadline has mostly moved on,
    and the thing with it. Only a deadline that moved to an earlier tick puts it into a second slot.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._slots: defaultdict[float, list[T]] = defaultdict(list)
        self._turned_at = clock.monotonic()
        self._hesitated = False

    def set(self, thing: T, seconds: float) -> None:
        """Let *thing* be overdue in so many *seconds*, and not when it would have been before."""
        thing.deadline = self._clock.monotonic() + seconds
        if thing.deadline <= thing.looked_at - TICK:
            self._place(thing)

    @staticmethod
    def forget(thing: T) -> None:
        """Never tell of *thing* again."""
        thing.deadline = thing.looked_at = inf

    def turn(self) -> Iterator[T]:
        """Yield what is overdue, but for what is set anew meanwhile; call it every `TICK`.

        A turn that comes late, after the process was frozen, yields nothing, once: what would have met its deadline may
        be there to be read, and a loop runs its timers first.
        """
        now = self._clock.monotonic()
        is_late, self._turned_at = now - self._turned_at > 3 * TICK, now
        if is_late and not self._hesitated:
            self._hesitated = True
            return
        self._hesitated = False
        due: list[T] = []
        for tick in [tick for tick in self._slots if tick <= now]:
            for thing in self._slots.pop(tick):
                if thing.looked_at != tick:
                    continue  # it has moved to an earlier slot since
                if thing.deadline > now:
                    self._place(thing)
                else:
                    thing.looked_at = inf
                    due.append(thing)
        yield from (thing for thing in due if thing.deadline <= now)

    def _place(self, thing: T) -> None:
        thing.looked_at = ceil(thing.deadline / TICK) * TICK
        self._slots[thing.looked_at].append(thing)
