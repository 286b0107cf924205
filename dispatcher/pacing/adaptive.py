"""How many requests an account may have in flight: found out by trying, as TCP finds its window.

Twilio answers 429 with code 20429 when an account has too many requests in flight; the ceiling is not published.
"""

from dataclasses import dataclass

CUT = 0.7
START = 10.0
# After a 429 the ceiling is known, so it is tried again only now and then: twice as seldom each time it is still
# there, twice as soon (and with twice the step) when it has gone. Plain AIMD, which grows by one each round trip for
# ever, would meet 429s all day and run at 85 % of the ceiling on average. Seconds.
SOONEST_PROBE = 1.0
FIRST_PROBE = 10.0
LATEST_PROBE = 40.0


@dataclass(slots=True)
class AdaptiveConcurrency:
    """Additive increase, multiplicative decrease, and a memory of where it went wrong.

    The limit doubles each round trip until the first 429 (slow start). A 429 cuts it to 0.7, once a round trip.
    It then grows by one a round trip until it meets a 429 again; the limit before that one is remembered as *known
    good*, and from then on it returns there at once and goes beyond it only to probe.
    """

    maximum: float
    limit: float = 0.0
    known_good: float | None = None
    _slow_start: bool = True
    _cut_at: float = float("-inf")
    _probe_at: float = 0.0
    _probe_after: float = FIRST_PROBE
    _probing: bool = False
    _step: float = 1.0

    def __post_init__(self) -> None:
        self.limit = min(START, self.maximum)

    def succeed(self, now: float, *, binding: bool) -> None:
        """A request was answered and not refused; *binding*: the limit had kept others waiting."""
        if not binding or self.limit >= self.maximum:
            return
        if self._slow_start:
            self._grow_to(self.limit + 1.0)
        elif self.known_good is None:
            self._grow_to(self.limit + 1.0 / self.limit)
        elif self.limit < self.known_good:
            self._grow_to(min(self.known_good, self.limit + 0.5))
        elif now >= self._probe_at:
            self._probe(now)

    def refuse(self, departed_at: float, now: float) -> bool:
        """A request that left at *departed_at* met the ceiling; return whether the limit was cut for it."""
        if departed_at < self._cut_at:
            return False  # it left before the last cut, which was for it too
        if self._probing:
            self._probe_after = min(LATEST_PROBE, self._probe_after * 2)
        elif not self._slow_start:
            self.known_good = max(1.0, float(int(self.limit) - 1))
        self._step = 1.0
        self._slow_start = self._probing = False
        self._cut_at = now
        self._probe_at = now + self._probe_after
        self.limit = max(1.0, self.limit * CUT)
        return True

    def change_maximum(self, maximum: float) -> None:
        """Never go above *maximum* from now on."""
        self.maximum = maximum
        self.limit = min(self.limit, maximum)

    def _probe(self, now: float) -> None:
        """Try more than is known to be good; what has held until now is known to be good too."""
        if self._probing:
            self._probe_after = max(SOONEST_PROBE, self._probe_after / 2)
            self._step *= 2
        self.known_good = self.limit
        self._probing = True
        self._probe_at = now + self._probe_after
        self._grow_to(self.limit + self._step)

    def _grow_to(self, limit: float) -> None:
        self.limit = min(limit, self.maximum)
