"""Messages of which nobody knows whether Twilio has them, until evidence or the pool's policy decides."""

from datetime import datetime
from heapq import heappop, heappush
from itertools import count

import msgspec

from dispatcher.domain.message import Message

# Twilio's list may be behind: it is looked at twice, so many seconds apart.
SECOND_LOOK = 5.0
LOOKS = 2


class Doubt(msgspec.Struct, kw_only=True, gc=False):
    """One message in doubt. *sender* is the number its request left by.

    *left_at* is when it left at the earliest, in monotonic seconds; *sent_at* is that by the wall clock.
    """

    message: Message
    sender: str
    left_at: float
    sent_at: datetime
    reason: str
    looks: int = 0


class Doubts:
    """Who is in doubt, and when each is to be looked into. *hold_off* is in seconds."""

    def __init__(self, hold_off: float) -> None:
        self._hold_off = hold_off
        self._agenda: list[tuple[float, int, Doubt]] = []
        self._order = count()

    def __len__(self) -> int:
        return len(self._agenda)

    def add(self, doubt: Doubt, *, since: float, now: float) -> None:
        """Look into *doubt* once the hold-off, which began at *since*, is over."""
        self._schedule(doubt, max(now, since + self._hold_off))

    def look_again(self, doubt: Doubt, now: float) -> bool:
        """Nothing was found: schedule another look and say True, or say False when it was the last."""
        doubt.looks += 1
        if doubt.looks >= LOOKS:
            return False
        self._schedule(doubt, now + SECOND_LOOK)
        return True

    def postpone(self, doubt: Doubt, now: float) -> None:
        """The look failed, so it does not count: look again later."""
        self._schedule(doubt, now + SECOND_LOOK)

    def due(self, now: float) -> list[Doubt]:
        """Take out those that are to be looked into now."""
        found = []
        while self._agenda and self._agenda[0][0] <= now:
            found.append(heappop(self._agenda)[2])
        return found

    def clear(self) -> None:
        """Forget them all: their partitions go to another worker, which reads of them in the journal."""
        self._agenda.clear()

    def _schedule(self, doubt: Doubt, when: float) -> None:
        heappush(self._agenda, (when, next(self._order), doubt))
