"""What the stand-in measures of a stream of messages: totals, exact peaks, the achieved rate."""

from collections import deque
from dataclasses import dataclass, field


class PeakWindow:
    """The largest amount that fell into any window of *width* seconds, over the very times of arrival.

    A window is half open: of two arrivals exactly *width* apart it holds one. The fullest window there is ends with an
    arrival, so looking at those alone is exact.
    """

    __slots__ = ("_amount", "_amounts", "_times", "_width", "peak")

    def __init__(self, width: float) -> None:
        self._width = width
        # Two queues, since pairs would be objects that the garbage collector has to look at.
        self._times: deque[float] = deque()
        self._amounts: deque[int] = deque()
        self._amount = 0
        self.peak = 0

    def add(self, amount: int, now: float) -> None:
        """Count *amount* at *now*, which never runs backwards."""
        self._times.append(now)
        self._amounts.append(amount)
        self._amount += amount
        self._forget(now)
        self.peak = max(self.peak, self._amount)

    def amount(self, now: float) -> int:
        """Return what the window that ends at *now* holds."""
        self._forget(now)
        return self._amount

    def _forget(self, now: float) -> None:
        times, width = self._times, self._width
        while times and now - times[0] >= width:
            times.popleft()
            self._amount -= self._amounts.popleft()


@dataclass(slots=True)
class Meter:
    """Totals and peaks, in segments, of what one sender or one 10DLC campaign and carrier was given."""

    messages: int = 0
    segments: int = 0
    first_at: float | None = None
    last_at: float | None = None
    largest: int = 0
    _last_segments: int = 0
    _second: PeakWindow = field(default_factory=lambda: PeakWindow(1.0))
    _tenth: PeakWindow = field(default_factory=lambda: PeakWindow(0.1))

    def add(self, segments: int, now: float) -> None:
        """Count a message of *segments* that was accepted at *now*."""
        if self.first_at is None:
            self.first_at = now
        self.last_at = now
        self._last_segments = segments
        self.messages += 1
        self.segments += segments
        self.largest = max(self.largest, segments)
        self._second.add(segments, now)
        self._tenth.add(segments, now)

    @property
    def peak_1s(self) -> int:
        """Most segments accepted in any second."""
        return self._second.peak

    @property
    def peak_100ms(self) -> int:
        """Most segments accepted in any 100 ms."""
        return self._tenth.peak

    @property
    def achieved_rate(self) -> float | None:
        """Segments a second up to the last message; None before there are two at different times.

        The last one does not count: it is the messages before it for which the time until it came was needed.
        """
        if self.first_at is None or self.last_at is None or self.last_at <= self.first_at:
            return None
        return (self.segments - self._last_segments) / (self.last_at - self.first_at)
