"""The limits a message passes on its way out. A gate is open or says when it opens, and keeps who waits in order."""

from collections import deque
from math import floor, inf
from random import Random
from typing import Any

from typing_extensions import override

from dispatcher.pacing.adaptive import AdaptiveConcurrency
from dispatcher.pacing.bucket import LEEWAY, TokenBucket
from dispatcher.pacing.queue_model import QueueModel
from dispatcher.pacing.turns import Share

# A slow limit may be ahead of its beat by so much of a message: thousands that fall due at once take a while to serve.
SLACK = 0.05
# And by a part of what a second has to spare, which may hold 5 % and a message more than the rate says: the rest is for
# what arrives later than it left. Nobody is served later than by so many seconds.
MOST_OVER = 0.05
PART_OF_SPARE = 0.15
MOST_LEEWAY = 0.25
# Senders are driven at 99 % of their rate: so that their queues at Twilio drain even when two clocks disagree.
HEADROOM = 0.99


class Gate:
    """One limit. *reason* is what the metrics call waiting at it; *due* is when the pacer will look at it next.

    From *open_from* on it is open, without a question; before that, `opens_at` knows.
    """

    __slots__ = ("due", "open_from", "reason", "waiting")

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.waiting: deque[Any] = deque()
        self.due = inf
        self.open_from = inf

    def opens_at(self, now: float) -> float:
        """Return when a message may pass: *now* or earlier when it may at once, inf when an event decides."""
        raise NotImplementedError

    def take(self, cost: float, now: float) -> None:
        """Let a message of *cost* segments pass."""

    def give_back(self, cost: float, taken_at: float) -> None:
        """Undo the `take` of *cost* at *taken_at*: the message was not processed."""

    def share(self, share: Share, now: float) -> None:
        """From *now* on this worker has *share* of the limit; it starts with nothing saved up."""


class RateGate(Gate):
    """So many segments (or, with *whole*, messages) a second; after a pause up to *burst* of them at once.

    With *by_turns*, workers that share it take turns. Of the gates that a message passes one does so, where that can be
    had: it would wait long for two to open at the same time.
    """

    __slots__ = ("_bucket", "_by_turns", "_factor", "_leeway", "_limit", "_share", "_whole")

    def __init__(
        self,
        reason: str,
        per_second: float,
        *,
        burst: int | None = None,
        whole: bool = False,
        by_turns: bool = False,
    ) -> None:
        super().__init__(reason)
        self._whole = whole
        self._by_turns = by_turns
        self._limit = per_second, burst
        self._leeway = _leeway(per_second, burst)
        self._factor = 1.0
        self._share = Share()
        self._bucket = TokenBucket(per_second * HEADROOM, self._leeway)
        self.open_from = self._bucket.open_from

    @override
    def opens_at(self, now: float) -> float:
        return self._bucket.opens_at(now)

    @override
    def take(self, cost: float, now: float) -> None:
        self.open_from = self._bucket.take(1.0 if self._whole else cost, now)

    @override
    def give_back(self, cost: float, taken_at: float) -> None:
        self._bucket.give_back(1.0 if self._whole else cost, taken_at)
        self.open_from = self._bucket.open_from

    @property
    def per_second(self) -> float:
        """What passes now: this worker's share."""
        return self._bucket.rate

    @property
    def forgiven(self) -> float:
        """By how many seconds a message may arrive later than it left and bring no second over the rate."""
        return _to_spare(self._limit[0]) - self._leeway

    def close(self, seconds: float, now: float) -> None:
        """Let nothing pass for *seconds*."""
        self._bucket.close(now + seconds)
        self.open_from = self._bucket.open_from

    def limit_to(self, per_second: float, now: float, *, burst: int | None = None) -> None:
        """From *now* on let *per_second* pass, with nothing saved up; what is owed stays."""
        if (per_second, burst) != self._limit:
            self._limit = per_second, burst
            self._leeway = _leeway(per_second, burst)
            self.share(self._share, now)

    def scale(self, factor: float, now: float) -> None:
        """From *now* on let *factor* of the rate pass."""
        if factor != self._factor:
            self._factor = factor
            self.share(self._share, now)

    @override
    def share(self, share: Share, now: float) -> None:
        self._share = share
        per_second = self._limit[0] * HEADROOM * self._factor
        # Another worker may have sent just now: the time of a segment passes first.
        turns, owed = (share.turns(per_second), 1.0) if self._by_turns else (None, 0.0)
        self._bucket.change_rate(per_second * share.part, now, leeway=self._leeway, turns=turns, owed=owed)
        self.open_from = self._bucket.open_from


def _leeway(per_second: float, burst: int | None) -> float:
    """Return by how many seconds of its rate a limit may be ahead.

    Late timers have to be made up for, whatever the burst; the first of a burst needs no leeway.
    """
    late = max(LEEWAY, SLACK / per_second, min(MOST_LEEWAY, PART_OF_SPARE * _to_spare(per_second)))
    return max(late, ((burst or 1) - 1) / (per_second * HEADROOM))


def _to_spare(per_second: float) -> float:
    """Return by how many seconds of its rate a limit may be ahead before some second holds too much."""
    return (floor(per_second * (1 + MOST_OVER)) + 1) / per_second - HEADROOM


class QueueGate(Gate):
    """Closed while the modelled queue at Twilio is deeper than *target* seconds of its rate, or a bunch came to it.

    With a share of it also so much may lie there as turns that follow each other closely bring.
    """

    __slots__ = ("_deepest", "_factor", "_limit", "_share", "model")

    def __init__(self, per_second: float, target: float) -> None:
        super().__init__("queue")
        self.model = QueueModel(per_second)
        self._limit = per_second, target
        self._factor = 1.0
        self._share = Share()
        self._deepest = per_second * target

    @override
    def opens_at(self, now: float) -> float:
        return max(self.model.falls_to(self._deepest), self.model.bunched_until)

    @override
    def take(self, cost: float, now: float) -> None:
        self.model.depart(cost)

    @override
    def give_back(self, cost: float, taken_at: float) -> None:
        self.model.refuse(cost)

    def limit_to(self, per_second: float, target: float, now: float) -> None:
        """From *now* on the queue is taken to drain at *per_second*, and may be *target* seconds of that deep."""
        if (per_second, target) != self._limit:
            self._limit = per_second, target
            self.share(self._share, now)

    def scale(self, factor: float, now: float) -> None:
        """From *now* on the queue is taken to drain at *factor* of its rate."""
        if factor != self._factor:
            self._factor = factor
            self.share(self._share, now)

    @override
    def share(self, share: Share, now: float) -> None:
        self._share = share
        limit, target = self._limit
        per_second = limit * self._factor
        self.model.change_rate(per_second * share.part, now)
        turns = share.turns(per_second)
        self._deepest = self.model.rate * target + (turns.deepest_queue() if turns is not None else 0.0)


class ConcurrencyGate(Gate):
    """Closed while the account has as many requests in flight as it may, or has to back off."""

    __slots__ = (
        "_backoff",
        "_binding",
        "_closed_until",
        "_maximum",
        "_minute",
        "_quickest",
        "_quickest_before",
        "_random",
        "_share",
        "_usual",
        "in_flight",
        "limit",
    )

    FIRST_BACKOFF = 0.050
    LAST_BACKOFF = 10.0
    # Lanes that wait now at this gate and now at their sender's keep the limit growing while so much of it is in use.
    BINDING_FROM = 0.8
    # An answer is late after so many times the quickest of the last minute or two: the network held something back.
    LATE = 2.0
    MINUTE = 60.0
    # What an answer usually takes follows the last hundred or so.
    NEWS = 0.01

    def __init__(self, maximum: int, random: Random) -> None:
        super().__init__("concurrency")
        self.in_flight = 0
        self.limit = AdaptiveConcurrency(float(maximum))
        self._maximum = maximum
        self._share = Share()
        self._random = random
        self._closed_until = 0.0
        self._backoff = self.FIRST_BACKOFF
        self._binding = False
        self._quickest = self._quickest_before = inf
        self._minute = 0.0
        self._usual = 0.0

    @override
    def opens_at(self, now: float) -> float:
        if self.in_flight + 1 <= self.limit.limit:
            return self._closed_until
        self.want_more()
        return inf

    def want_more(self) -> None:
        """The limit keeps somebody waiting."""
        self._binding = True

    @override
    def take(self, cost: float, now: float) -> None:
        self.in_flight += 1

    def answered(self, after: float, now: float, *, healthy: bool) -> float:
        """A request came back *after* so many seconds, by how many of them too late is returned.

        *healthy*: Twilio processed it.
        """
        self.in_flight -= 1
        if healthy:
            if now >= self._minute:
                # Forgotten in the end: a Twilio that has become slow is not late for ever.
                self._quickest_before, self._quickest = self._quickest, inf
                self._minute = now + self.MINUTE
            self._quickest = min(after, self._quickest)
            self._usual += self.NEWS * (after - self._usual)
            self.limit.succeed(binding=self._binding)
            self._backoff = self.FIRST_BACKOFF
        if self._binding and not self.waiting and self.in_flight < self.BINDING_FROM * self.limit.limit:
            self._binding = False
        return after - self.LATE * min(self._quickest, self._quickest_before)

    def lets_go_in(self, messages: int) -> float:
        """Return in about how many seconds so many *messages* will have left, if answers come as they usually do."""
        limit = self.limit.limit
        waiting = messages - (limit - self.in_flight)
        return waiting * self._usual / limit if waiting > 0 else 0.0

    def refuse(self, departed_at: float, retry_after: float | None, now: float) -> None:
        """Twilio answered 429 (20429), or could not be reached: fewer at once, and a pause (full jitter)."""
        if self.limit.refuse(departed_at, now):
            self.close(self._random.uniform(0.0, self._backoff), now)
            self._backoff = min(self.LAST_BACKOFF, self._backoff * 2)
        if retry_after is not None:
            self.close(retry_after, now)

    def close(self, seconds: float, now: float) -> None:
        """Let nothing pass for *seconds*."""
        self._closed_until = max(self._closed_until, now + seconds)

    def limit_to(self, maximum: int, now: float) -> None:
        """From *now* on at most *maximum* requests may be in flight."""
        if maximum != self._maximum:
            self._maximum = maximum
            self.share(self._share, now)

    @override
    def share(self, share: Share, now: float) -> None:
        self._share = share
        self.limit.change_maximum(max(1.0, self._maximum * len(share.owned) / share.of))


class SuspensionGate(Gate):
    """Closed while a sender is suspended: until *open_from*, which whoever suspends it sets."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("suspended")
        self.open_from = 0.0

    @override
    def opens_at(self, now: float) -> float:
        return self.open_from


class HoldGate(Gate):
    """Closed for as long as it is there: a campaign that is held waits here until another gate takes its place."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("held")

    @override
    def opens_at(self, now: float) -> float:
        return inf


class StandbyGate(Gate):
    """Closed while one message more stands by, announced and about to leave, than the account may have in flight.

    What stands by when a worker dies is in doubt, so it is kept to what is needed.
    """

    __slots__ = ("_concurrency", "count", "lanes")

    def __init__(self, concurrency: ConcurrencyGate) -> None:
        super().__init__("journal")
        self._concurrency = concurrency
        self.count = 0
        self.lanes = 0  # of how many lanes messages stand by

    @property
    def most_of_a_lane(self) -> float:
        """How many messages of one lane may stand by: the more lanes need some of what is left, the fewer."""
        limit = self._concurrency.limit.limit
        return limit if self.count <= limit / 2 else (limit + 1) / self.lanes

    @property
    def is_free(self) -> bool:
        """Whether one more message may stand by, and no lane is in line for that."""
        return not self.waiting and self.count <= self._concurrency.limit.limit

    @override
    def opens_at(self, now: float) -> float:
        if self.count <= self._concurrency.limit.limit:
            return now
        self._concurrency.want_more()
        return inf
