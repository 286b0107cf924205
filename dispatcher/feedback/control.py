"""How much of its rate a sender may have, from what tracking says of its queue at Twilio. Pure; handed the time.

The model of that queue (`pacing/queue_model.py`) believes the configured rate. Where Twilio drains more slowly, only
callbacks tell, and only as late as the queue is long.
"""

from dataclasses import dataclass

from dispatcher.domain.sender_health import DELAY_SPAN, SenderHealth

# A queue that is too long: at most so much of the rate as before, and of what Twilio was seen to drain.
CUT = 0.7
BELOW_DRAIN = 0.9
LEAST = 0.02
# Steps back to the configured rate, and the seconds between two of them: with care above what was seen to drain, since
# a queue that grows again is noticed only as late as it is long.
STEP = 1.25
CAREFUL_STEP = 1.1
STEP_EVERY = 5.0
# What a cut brings is seen only when what lies in the queue has left it (that is longer than what has left it says,
# twice at most), and so many seconds later.
MEASURED_AFTER = 5.0
# Without news for so long nobody measures any more, and the rate comes back in steps.
SILENCE = 60.0
# Codes that say that a sender, or its campaign, was too fast.
TOO_FAST = frozenset({30001, 30022, 30036})


@dataclass(slots=True)
class RateControl:
    """One sender's *factor* of its *rate* (segments a second); *target* is the longest queue, in seconds.

    One cut a measuring period, deep enough that the queue drains; then steps back while it stays short.
    """

    rate: float
    target: float
    factor: float = 1.0
    _rests_until: float = 0.0
    _heard_at: float = 0.0
    _complaints: int = 0
    _delay: float = 0.0
    _drained: float = 1.0

    def change(self, *, rate: float, target: float) -> None:
        """*rate* and *target* are what the config says from now on; what Twilio was seen to drain is what it was."""
        self.target = target
        if self.factor < 1.0:
            self.factor = min(1.0, max(LEAST, self.factor * self.rate / rate))
        self._drained *= self.rate / rate
        self.rate = rate

    def hear(self, health: SenderHealth, now: float) -> float:
        """Take in what tracking says at *now*; return the factor that holds from now on."""
        self._heard_at = now
        complaints = sum(count for code, count in health.counts.codes.items() if code in TOO_FAST)
        complained, self._complaints = complaints > self._complaints, complaints
        delay = health.queue_delay
        is_too_long = delay is not None and delay > self.target
        is_shrinking, self._delay = (delay or 0.0) < self._delay, delay or 0.0
        if is_too_long or complained:
            if now >= self._rests_until and (complained or not is_shrinking):
                if is_too_long:
                    self._drained = health.left_segments / DELAY_SPAN / self.rate
                factor = min(self.factor * CUT, self._drained * BELOW_DRAIN)
                self._cut(factor, now + MEASURED_AFTER + 2 * self._delay)
        elif delay is not None or not health.queued_segments:
            self._step_back(now)
        return self.factor

    def refused(self, now: float) -> float:
        """Twilio's queue of the sender is full (21611); return the factor that holds from now on."""
        self._heard_at = now
        if now >= self._rests_until:
            self._cut(self.factor * CUT, now + MEASURED_AFTER)
        return self.factor

    def silent(self, now: float) -> float:
        """Nothing may have been heard for a while; return the factor that holds from now on."""
        if now - self._heard_at > SILENCE:
            self._step_back(now)
        return self.factor

    def _cut(self, factor: float, rests_until: float) -> None:
        self.factor = max(LEAST, factor)
        self._rests_until = rests_until

    def _step_back(self, now: float) -> None:
        if self.factor < 1.0 and now >= self._rests_until:
            below = self.factor * STEP <= self._drained * BELOW_DRAIN
            self.factor = min(1.0, self.factor * (STEP if below else CAREFUL_STEP))
            self._rests_until = now + STEP_EVERY
