"""Messages that wait for a cap to have room, the most important first: in no lane, so they hold nobody up."""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import NamedTuple

from dispatcher.domain.caps import Cap
from dispatcher.domain.message import Message

# Messages taken at once: a few milliseconds of work.
AT_ONCE = 200


class Waiting(NamedTuple):
    """A *message* that takes *amount* of a cap; the smaller of two is served first."""

    priority: int
    order: int
    amount: int
    message: Message


class Shelf:
    """Keeps messages by the cap they wait for. A cap is *stirred* when something of it may have come back."""

    def __init__(self) -> None:
        self._waiting: dict[Cap, list[Waiting]] = {}
        self._stirred: set[Cap] = set()
        self._order = count()

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def is_stirred(self) -> bool:
        """Whether anybody waits whose time may have come."""
        return bool(self._stirred)

    def stirred(self) -> list[Cap]:
        """Return the caps that are to be looked at."""
        return [*self._stirred]

    def put(self, cap: Cap, amount: int, message: Message) -> None:
        """Let *message*, which takes *amount* of *cap*, wait."""
        if cap not in self._waiting:
            self._waiting[cap] = []
            self._stirred.add(cap)
        heappush(self._waiting[cap], Waiting(message.priority, next(self._order), amount, message))

    def take_some(self, cap: Cap) -> list[Waiting]:
        """Take out the first of those that wait for *cap*."""
        waiting = self._waiting.get(cap, [])
        taken = [heappop(waiting) for _ in range(min(AT_ONCE, len(waiting)))]
        if not waiting:
            self._waiting.pop(cap, None)
            self._stirred.discard(cap)
        return taken

    def put_back(self, cap: Cap, kept: Iterable[Waiting]) -> None:
        """Let those that were taken out wait on, in their places."""
        waiting = self._waiting.setdefault(cap, [])
        for one in kept:
            heappush(waiting, one)
        if not waiting:
            del self._waiting[cap]

    def stir(self, cap: Cap) -> None:
        """Something of *cap* may have come back, or its day is over."""
        if cap in self._waiting:
            self._stirred.add(cap)

    def stir_all(self) -> None:
        """Time has passed."""
        self._stirred |= self._waiting.keys()

    def settle(self, cap: Cap) -> None:
        """Nobody who waits for *cap* can be helped before it is stirred again."""
        self._stirred.discard(cap)

    def withdraw(self, campaign: str) -> list[Message]:
        """Take out what is of *campaign*."""
        taken: list[Message] = []
        for cap, waiting in [*self._waiting.items()]:
            taken += [one.message for one in waiting if one.message.job.campaign == campaign]
            if kept := [one for one in waiting if one.message.job.campaign != campaign]:
                heapify(kept)
                self._waiting[cap] = kept
            else:
                del self._waiting[cap]
                self._stirred.discard(cap)
        return taken

    def take_all(self) -> list[Message]:
        """Take everybody out, in order."""
        taken = [one.message for waiting in self._waiting.values() for one in sorted(waiting)]
        self.clear()
        return taken

    def clear(self) -> None:
        """Forget what waits: its partitions go to another worker, or will be read again."""
        self._waiting.clear()
        self._stirred.clear()
