"""Twilio's queue in front of a sender: first in, first out, drained at the sender's rate.

https://help.twilio.com/articles/115002943027: each sender, or 10DLC campaign, has a queue of ten hours.
"""

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Final

from dispatcher.simulator.message import Due, Message
from dispatcher.simulator.meter import Meter

CAPACITY_SECONDS: Final = 36_000
MAX_VALIDITY: Final = 36_000
EXPIRED_IN_QUEUE: Final = 30036


class SenderQueue:
    """A message of c segments starts when the one before it has drained and is sent c / rate seconds later.

    *rate* is what the sender is meant to drain, in segments a second, *factor* how much of that it really does.
    Whoever calls hands in a time that never runs backwards.
    """

    __slots__ = (
        "_backlog",
        "_done",
        "_drain_rate",
        "_expiring",
        "_since",
        "_waiting",
        "deepest_seconds",
        "deepest_segments",
        "meter",
        "rate",
    )

    def __init__(self, rate: float, factor: float = 1.0) -> None:
        self.rate = rate
        self.meter = Meter()
        self.deepest_segments = 0.0
        self.deepest_seconds = 0.0
        self._drain_rate = rate * factor
        self._waiting: deque[Message] = deque()
        # When the validity of messages ends. Those that left meanwhile stay in it.
        self._expiring: list[Due] = []
        # Segments of all that wait, the head's in full; of the head, *_done* had drained at *_since*.
        self._backlog = 0
        self._done = 0.0
        self._since = 0.0

    def has_room(self, segments: int, now: float) -> bool:
        """Say whether *segments* more fit into ten hours at the sender's own rate."""
        return self.depth(now) + segments <= self.rate * CAPACITY_SECONDS

    def put(self, message: Message, now: float) -> None:
        """Queue *message*; the queue has been advanced to *now*."""
        if not self._waiting:
            self._since, self._done = now, 0.0
        self._waiting.append(message)
        self._backlog += message.segments
        if message.validity < MAX_VALIDITY:
            heappush(self._expiring, Due(message.at + message.validity, message.seq, message))
        self.meter.add(message.segments, now)
        depth = self.depth(now)
        self.deepest_segments = max(self.deepest_segments, depth)
        if self._drain_rate:
            self.deepest_seconds = max(self.deepest_seconds, depth / self._drain_rate)

    def depth(self, now: float) -> float:
        """Return the segments that have not drained; the queue has been advanced to *now*."""
        if not self._waiting:
            return 0.0
        return self._backlog - self._done - (now - self._since) * self._drain_rate

    def slow_to(self, factor: float, now: float) -> None:
        """Drain at *factor* times the rate from *now* on; the queue has been advanced to *now*."""
        if self._waiting:
            self._done += (now - self._since) * self._drain_rate
            self._since = now
        self._drain_rate = self.rate * factor

    def advance(self, now: float) -> Iterator[tuple[Message, float]]:
        """Mark each message that left up to *now* as sent or failed, and yield it with when it left."""
        while self._expiring and self._expiring[0].at <= now:
            due = heappop(self._expiring)
            at, message = due.at, due.message
            yield from self._drain(at)
            # A message that is being sent no longer expires.
            if message.status in {"accepted", "queued"} and message is not self._waiting[0]:
                yield self._expire(message), at
        yield from self._drain(now)

    def _drain(self, now: float) -> Iterator[tuple[Message, float]]:
        waiting = self._waiting
        while waiting:
            head = waiting[0]
            if head.status == "failed":  # it expired while it waited, and is in the backlog no more
                waiting.popleft()
            elif not self._done and self._since > head.at + head.validity:
                waiting.popleft()
                yield self._expire(head), head.at + head.validity
            elif self._drain_rate and (end := self._since + (head.segments - self._done) / self._drain_rate) <= now:
                waiting.popleft()
                self._backlog -= head.segments
                self._since, self._done = end, 0.0
                head.status, head.sent_at = "sent", end
                yield head, end
            else:
                return

    def _expire(self, message: Message) -> Message:
        self._backlog -= message.segments
        message.status, message.code = "failed", EXPIRED_IN_QUEUE
        return message
