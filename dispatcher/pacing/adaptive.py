"""How many requests an account may have in flight: found out by trying, as TCP finds its window.

Twilio answers 429 with code 20429 when an account has too many requests in flight; the ceiling is not published.
"""

from dataclasses import dataclass
from math import inf

START = 10.0
CUT = 0.7
# Slow start doubles the limit each round trip, so it ends at up to twice the ceiling.
FIRST_CUT = 0.5
# Below what is known to be good each success brings the limit back by so much.
RETURN = 0.25
# Above it the limit feels its way, with so much a round trip at first and the more the further it got without a 429:
# a ceiling that stands costs one 429 in some 200 requests, one that rose is found within seconds. Plain AIMD, which
# grows by one each round trip for ever, would meet 429s all day and run at 85 % of the ceiling on average.
FEEL = 0.05
SPEED_UP = 0.1
# A round trip of a small account counts as so many requests, or one in ten of them would find the ceiling.
SHORTEST_ROUND = 10.0


@dataclass(slots=True)
class AdaptiveConcurrency:
    """Additive increase, multiplicative decrease, and a memory of how much has been good.

    The limit doubles each round trip until the first 429 (slow start). A 429 cuts it to 0.7, once a round trip. It
    then returns to what is known to be *good* at once and from there goes on with care. A 429 above *good* proves that
    all below it is good; one at *good* or below brings *good* half of the way down, since it may have been chance.
    """

    maximum: float
    limit: float = 0.0
    good: float = inf
    _cut_at: float = -inf

    def __post_init__(self) -> None:
        self.limit = min(START, self.maximum)

    def succeed(self, *, binding: bool) -> None:
        """A request was answered and not refused; *binding*: the limit had kept others waiting."""
        if not binding:
            return
        if self.good == inf:
            step = 1.0
        elif self.limit < self.good:
            step = min(RETURN, self.good - self.limit)
        else:
            step = (FEEL + SPEED_UP * (self.limit - self.good)) / max(self.limit, SHORTEST_ROUND)
        self.limit = min(self.limit + step, self.maximum)

    def refuse(self, departed_at: float, now: float) -> bool:
        """A request that left at *departed_at* met the ceiling; return whether the limit was cut for it."""
        if departed_at < self._cut_at:
            return False  # it left before the last cut, which was for it too
        self._cut_at = now
        if self.good == inf:
            self.good = self.limit = max(1.0, self.limit * FIRST_CUT)
            return True
        held = max(1.0, self.limit - 1.0)
        self.good = held if held > self.good else (self.good + held) / 2
        self.limit = max(1.0, self.limit * CUT)
        return True

    def change_maximum(self, maximum: float) -> None:
        """Never go above *maximum* from now on."""
        self.maximum = maximum
        self.limit = min(self.limit, maximum)
