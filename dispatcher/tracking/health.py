"""What the latest news tell of each sender: how long its messages wait at Twilio, and how many do. Pure."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import ceil, exp, floor, log

import msgspec

from dispatcher.domain.counts import Counts
from dispatcher.domain.sender_health import DELAY_SPAN, SenderHealth

# The exponential mean forgets half of a delay within so many seconds.
HALF_LIFE = 2.0
# Delays are kept by their logarithm, so that a percentile is right to within 5 %, however many there are.
_STEPS = 10
_SHORTEST = 0.001
_PERCENTILE = 0.95


class Senders:
    """Follows all senders; *queued* is what waited when it began, as messages and segments by number."""

    def __init__(self, queued: Mapping[str, tuple[int, int]]) -> None:
        self._senders = {number: _Sender(*found) for number, found in queued.items()}
        self._told: dict[str, SenderHealth] = {}

    def queue(self, number: str, messages: int, segments: int) -> None:
        """So many more wait at Twilio for *number*; fewer, below zero."""
        sender = self._of(number)
        sender.queued_messages += messages
        sender.queued_segments += segments

    def left(self, number: str, segments: int, at: float, delay: float | None) -> None:
        """A message left the queue of *number*, as was heard at *at*, *delay* seconds after its acceptance."""
        self._of(number).left(segments, int(at), delay)

    def tell(self, counts: Callable[[str], Counts], now: float) -> list[SenderHealth]:
        """Return the state as of *now* of every sender that has another one than was told last."""
        found = []
        at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
        for number, sender in self._senders.items():
            health = sender.health(number, at, counts(number), now)
            told = self._told.get(number)
            if told is None or health != msgspec.structs.replace(told, at=at):
                self._told[number] = health
                found.append(health)
        return found

    def _of(self, number: str) -> "_Sender":
        sender = self._senders.get(number)
        if sender is None:
            sender = self._senders[number] = _Sender(0, 0)
        return sender


class _Sender:
    """One sender. By second: the segments that left, and the delays by the logarithm of theirs."""

    __slots__ = ("_delays", "_fresh", "_mean", "_segments", "_told_at", "queued_messages", "queued_segments")

    def __init__(self, messages: int, segments: int) -> None:
        self.queued_messages = messages
        self.queued_segments = segments
        self._segments: Counter[int] = Counter()
        self._delays: dict[int, Counter[int]] = {}
        # Delays since the mean was told: how many, and their sum.
        self._fresh = (0, 0.0)
        self._mean: float | None = None
        self._told_at = 0.0

    def left(self, segments: int, second: int, delay: float | None) -> None:
        self._segments[second] += segments
        if delay is None:
            return
        self._delays.setdefault(second, Counter())[round(log(max(delay, _SHORTEST)) * _STEPS)] += 1
        count, total = self._fresh
        self._fresh = count + 1, total + delay

    def health(self, number: str, at: str, counts: Counts, now: float) -> SenderHealth:
        oldest = floor(now) - DELAY_SPAN + 1
        for kept in (self._segments, self._delays):
            for second in [second for second in kept if second < oldest]:
                del kept[second]
        delays = sum(self._delays.values(), Counter[int]())
        self._follow(now, has_any=bool(delays))
        return SenderHealth(
            sender=number,
            at=at,
            queue_delay=None if self._mean is None else round(self._mean, 3),
            queue_delay_p95=_percentile(delays),
            delays=delays.total(),
            queued_messages=self.queued_messages,
            queued_segments=self.queued_segments,
            left_segments=self._segments.total(),
            counts=counts,
        )

    def _follow(self, now: float, *, has_any: bool) -> None:
        """Let the mean follow what came since it did last; without delays in the span there is none."""
        count, total = self._fresh
        self._fresh = (0, 0.0)
        if not has_any:
            self._mean = None
        elif count:
            weight = 1.0 if self._mean is None else 1.0 - 0.5 ** (max(0.0, now - self._told_at) / HALF_LIFE)
            self._mean = (1.0 - weight) * (self._mean or 0.0) + weight * total / count
        if count or not has_any:
            self._told_at = now


def _percentile(delays: Counter[int]) -> float | None:
    rank = ceil(delays.total() * _PERCENTILE)
    for step in sorted(delays):
        rank -= delays[step]
        if rank <= 0:
            return round(exp(step / _STEPS), 3)
    return None
