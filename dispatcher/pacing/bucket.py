"""A token bucket that answers with a time instead of waiting itself."""

from dataclasses import dataclass

# How far a message may run ahead of an exact beat, in seconds of its rate. It makes up for a late timer: a beat missed
# by less is caught up. It also is the largest burst, so it stays below the 5 % that a second may be over.
LEEWAY = 0.020


@dataclass(slots=True)
class TokenBucket:
    """A bucket that fills at *rate* units a second, kept as the one time at which it will be full again (GCRA).

    A take is never refused here: it may leave a debt, and the debt is what the next one waits for. *leeway* is the
    bucket's size in seconds of its rate.
    """

    rate: float
    leeway: float = LEEWAY
    full_at: float = 0.0

    def opens_at(self) -> float:
        """Return the time from which a take is within the rate."""
        return self.full_at - self.leeway

    def take(self, cost: float, now: float) -> None:
        """Take *cost* units at *now*."""
        self.full_at = max(self.full_at, now) + cost / self.rate

    def give_back(self, cost: float) -> None:
        """Return *cost* units that were taken for nothing."""
        self.full_at -= cost / self.rate

    def change_rate(self, rate: float, now: float) -> None:
        """Go on at *rate*; the debt in units stays what it is."""
        debt = max(0.0, self.full_at - now) * self.rate
        self.rate = rate
        self.full_at = now + debt / rate

    def empty(self, now: float) -> None:
        """Forget the past: nothing is saved up at *now*, and nothing is owed."""
        self.full_at = now + self.leeway
