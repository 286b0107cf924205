"""A token bucket that answers with a time instead of waiting itself."""

from collections import deque
from dataclasses import dataclass, field
from math import inf

from dispatcher.pacing.turns import Turns

# How far a message may run ahead of an exact beat, in seconds of its rate. It makes up for a late timer: a beat missed
# by less is caught up. It also is the largest burst, so it stays below the 5 % that a second may be over.
LEEWAY = 0.020
# How long ago a take may have been that is undone; what comes back later than that is spent. Seconds.
MEMORY = 2.0


@dataclass(slots=True)
class TokenBucket:
    """A bucket that fills at *rate* units a second, kept as the one time at which it will be full again (GCRA).

    A take is never refused here: it may leave a debt, and the debt is what the next one waits for. *leeway* is the
    bucket's size in seconds of its rate.

    Where workers take *turns* it opens as one of its own begins, each worth a unit; *rate* is what they come to.
    """

    rate: float
    leeway: float = LEEWAY
    full_at: float = 0.0
    turns: Turns | None = None
    # The latest takes: when, how much, and when the bucket would have been full without them.
    _takes: deque[tuple[float, float, float]] = field(default_factory=deque)

    def opens_at(self, now: float) -> float:
        """Return the time from which a take is within the rate, seen from *now*; *now* or earlier: at once."""
        opens_at = self.full_at - self.leeway
        if self.turns is None or opens_at > now:
            return opens_at
        # A turn that was missed by no more than a late timer is made up for.
        return self.turns.begins(self.turns.next(max(opens_at, now - self.leeway)))

    @property
    def open_from(self) -> float:
        """The time from which a take is within the rate, whenever one asks; inf where that decides which turn it is."""
        return self.full_at - self.leeway if self.turns is None else inf

    def take(self, cost: float, now: float) -> float:
        """Take *cost* units at *now*; return from when the next take is within the rate, as `open_from` does."""
        takes, full_at = self._takes, self.full_at
        takes.append((now, cost, full_at))
        if takes[0][0] < now - MEMORY:
            takes.popleft()
        at = max(full_at, now)
        if self.turns is None:
            self.full_at = full_at = at + cost / self.rate
            return full_at - self.leeway
        self.full_at = self.turns.begins(self.turns.next(at - self.leeway) + cost) + self.leeway
        return inf

    def give_back(self, cost: float, taken_at: float) -> None:
        """Undo a take of *cost* units at *taken_at*, or the last like it before, as if it had never been.

        What it left unused then is saved up like any other pause: no more than the leeway. To add *cost* now would let
        a block of refusals go out again as one burst.
        """
        if not self._takes or self._takes[0][0] > taken_at:
            return
        later: list[tuple[float, float]] = []
        while self._takes:
            at, units, self.full_at = self._takes.pop()
            if at <= taken_at and units == cost:
                break
            later.append((at, units))
        for at, units in reversed(later):
            self.take(units, at)

    def change_rate(
        self, rate: float, now: float, *, leeway: float, turns: Turns | None = None, owed: float = 0.0
    ) -> None:
        """Go on at *rate*, with this *leeway* and these *turns*.

        The debt in units stays, *owed* at least, and savings are lost.
        """
        debt = max(owed, (self.full_at - self.leeway - now) * self.rate)
        self.rate = rate
        self.leeway = leeway
        self.turns = turns
        if turns is None:
            self.full_at = now + debt / rate + self.leeway
        else:
            self.full_at = turns.begins(turns.next(now + owed * turns.length) + debt - owed) + self.leeway
        self._takes.clear()

    def close(self, until: float) -> None:
        """Let nothing pass before *until*."""
        self.full_at = max(self.full_at, until + self.leeway)
        self._takes.clear()
