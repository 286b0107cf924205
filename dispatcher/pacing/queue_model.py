"""A model of one of Twilio's queues, which nobody can look into.

Twilio answers 201 at once and queues whatever exceeds the sender's rate, silently, up to ten hours deep.
"""

from dataclasses import dataclass
from math import inf

# How much of what the network held back may arrive at once before a pause follows, in seconds of the queue's rate.
BUNCH = 0.04


@dataclass(slots=True)
class QueueModel:
    """How many segments lie in a queue that drains at *rate* segments a second.

    A request that has not been answered yet counts in full: when the network stalls, all of its requests may arrive
    in one moment. It starts to drain when it is answered.

    Those that the network held back left at the rate and arrive as a bunch, and what leaves now would come on top of
    it: until *bunched_until* there is more than a little of them, the last one aside.
    """

    rate: float
    unanswered: float = 0.0
    bunched_until: float = 0.0
    _depth: float = 0.0
    _at: float = 0.0
    _late_until: float = 0.0

    def depth(self, now: float) -> float:
        """Return the segments that are accepted and not yet drained at *now*."""
        return max(0.0, self._depth - (now - self._at) * self.rate)

    def depart(self, cost: float) -> None:
        """A request of *cost* segments is on its way."""
        self.unanswered += cost

    def accept(self, cost: float, now: float, *, is_late: bool = False) -> None:
        """It was accepted, or nobody knows: then it may lie there. *is_late*: it may have arrived only just now."""
        self.unanswered -= cost
        self._depth = self.depth(now) + cost
        self._at = now
        if is_late:
            before = max(now, self._late_until)
            self.bunched_until = before - BUNCH
            self._late_until = before + cost / self.rate

    def refuse(self, cost: float) -> None:
        """It was not accepted."""
        self.unanswered -= cost

    def falls_to(self, depth: float) -> float:
        """Return when queue and unanswered requests together are down to *depth*, or were; inf: an answer decides."""
        allowed = depth - self.unanswered
        return self._at + (self._depth - allowed) / self.rate if allowed >= 0 else inf

    def change_rate(self, rate: float, now: float) -> None:
        """From *now* on it drains at *rate*: what came as a bunch takes as much longer as *rate* is lower."""
        self._depth = self.depth(now)
        self._at = now
        longer = self.rate / rate
        self._late_until = now + max(0.0, self._late_until - now) * longer
        self.bunched_until = now + max(0.0, self.bunched_until + BUNCH - now) * longer - BUNCH
        self.rate = rate
