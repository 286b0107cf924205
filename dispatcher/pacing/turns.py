"""How workers split a limit: what part of it each has, and whose turn it is when a slow sender may send again.

Shares that sum to one keep the long run exact, and still let every worker send in the same moment: four workers that
had nothing to do for a while would give a sender of 1/s four messages in one second. So a sender's time is cut into
turns of one segment, on a grid that all workers read off the wall clock; each turn is that of an index's owner.
"""

from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import ceil

_GOLDEN = 0.6180339887498949
# A turn that begins now does so whatever the last bits of a division say. Turns.
_ROUNDING = 1e-4


@dataclass(frozen=True, slots=True)
class Share:
    """A worker's part of every limit: it owns the partition indices *owned*, *of* so many.

    *epoch* is when the wall clock was at zero, in monotonic seconds.
    """

    owned: frozenset[int] = frozenset({0})
    of: int = 1
    epoch: float = 0.0

    @property
    def part(self) -> float:
        """Which part of each limit this worker has, above 0 and up to 1."""
        return len(self.owned) / self.of

    def turns(self, rate: float) -> "Turns | None":
        """Return this worker's turns of a sender that sends *rate* segments a second; None when all are its own."""
        return None if len(self.owned) == self.of else Turns(self, rate)


class Turns:
    """A worker's turns: of each round of as many turns as there are indices, those of the indices that it owns.

    Indices that stand side by side, which one worker tends to own, are spread over the round by the golden ratio.
    Own turns are counted from 0 on; *length* is the time of one segment in seconds.
    """

    __slots__ = ("_before", "_of", "_origin", "_own", "_rate", "length")

    def __init__(self, share: Share, rate: float) -> None:
        self._rate = rate
        self.length = 1 / rate
        self._of = share.of
        # Where a round begins close to zero: sums of large numbers would be too coarse.
        self._origin = share.epoch % (share.of / rate)
        order = sorted(range(share.of), key=lambda index: index * _GOLDEN % 1)
        self._own = [turn for turn, index in enumerate(order) if index in share.owned]
        # How many of the round's turns before each are own.
        self._before = [0, *accumulate(index in share.owned for index in order)]

    def next(self, at: float) -> int:
        """Return the number of the first own turn that begins at *at* or later."""
        round_, turn = divmod(ceil((at - self._origin) * self._rate - _ROUNDING), self._of)
        return round_ * len(self._own) + self._before[turn]

    def begins(self, number: float) -> float:
        """Return when the own turn with this *number* (rounded up) begins."""
        round_, position = divmod(ceil(number - _ROUNDING), len(self._own))
        return self._origin + (round_ * self._of + self._own[position]) / self._rate

    def deepest_queue(self) -> float:
        """Return how many segments lie, when a turn begins, in a queue that drains at this worker's part of the rate.

        Each own turn brings one, and own turns may follow each other closely.
        """
        part = len(self._own) / self._of
        depth = deepest = 0.0
        for turn, following in pairwise([*self._own, *(turn + self._of for turn in self._own)]):
            depth = max(0.0, depth + 1 - (following - turn) * part)
            deepest = max(deepest, depth)
        return deepest
