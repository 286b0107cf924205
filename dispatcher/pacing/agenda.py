"""What is due when, for thousands at a time: a heap would touch a dozen cold entries for each that it takes out."""

from heapq import heappop, heappush
from math import inf
from operator import itemgetter
from typing import Generic, TypeVar

# What falls due so close together shares a slot; slots are in order, and entries of one when it comes. Seconds.
SLOT = 0.004
T = TypeVar("T")
_when = itemgetter(0)


class Agenda(Generic[T]):
    """Entries by the monotonic time at which they are due; *next_due* is the earliest, inf when there is none."""

    __slots__ = ("_slots", "_times", "next_due")

    def __init__(self) -> None:
        self.next_due = inf
        self._slots: dict[int, list[tuple[float, T]]] = {}
        self._times: list[int] = []  # a heap of the slots

    def add(self, when: float, what: T) -> None:
        """Have *what* be due at *when*; inf: never."""
        if when == inf:
            return
        slot = int(when / SLOT)
        entries = self._slots.get(slot)
        if entries is None:
            self._slots[slot] = [(when, what)]
            heappush(self._times, slot)
        else:
            entries.append((when, what))
        self.next_due = min(self.next_due, when)

    def take(self, now: float) -> list[tuple[float, T]]:
        """Take out what is due at *now*, each with its time: the earliest first, and of one time what came first."""
        due: list[tuple[float, T]] = []
        while self.next_due <= now:
            slot = self._times[0]
            entries = self._slots[slot]
            entries.sort(key=_when)
            kept = [entry for entry in entries if entry[0] > now] if entries[-1][0] > now else []
            due += entries[: len(entries) - len(kept)]
            if kept:
                self._slots[slot] = kept
                self.next_due = kept[0][0]
            else:
                heappop(self._times)
                del self._slots[slot]
                self.next_due = min(map(_when, self._slots[self._times[0]])) if self._times else inf
        return due
