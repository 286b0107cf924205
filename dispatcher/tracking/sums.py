"""What a batch of news changes in the sums over all messages. Pure.

Sums are kept, not computed: looking at a campaign costs the same whether it has ten messages or ten million.
"""

from bisect import bisect_left
from collections import defaultdict
from typing import Final, NamedTuple

from dispatcher.tracking.lifecycle import Passed, Track

# Upper bounds of what delays are sorted into, in seconds; the last bucket is for all above.
DELAY_BOUNDS: Final = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 36000.0)


class CountKey(NamedTuple):
    """What messages are counted by; what there is not is empty or 0."""

    campaign: str
    sender: str
    carrier: str
    status: str
    code: int


class DelayKey(NamedTuple):
    """What delays are sorted by; *what* is `queue` (accepted to left) or `delivery` (accepted to delivered)."""

    what: str
    campaign: str
    sender: str
    bucket: int


class Progress(NamedTuple):
    """A message came on: *passed* is what is new. Delays are in seconds, None where nobody knows."""

    campaign: str
    sender: str
    status: str
    code: int | None
    segments: int
    passed: Passed
    was_queued: bool
    is_queued: bool
    accepted_at: float
    left_at: float
    changed_at: float
    queue_delay: float | None
    delivery_delay: float | None


class Before(NamedTuple):
    """How a message was counted before a batch."""

    key: CountKey | None
    segments: int
    passed: Passed
    is_queued: bool
    left_at: float | None

    @classmethod
    def of(cls, track: Track) -> "Before":
        """Return how *track* counts now."""
        return cls(_key(track), track.segments, track.passed, _is_queued(track), track.left_at)


class Sums:
    """Adds up what a batch changes: messages and segments by `CountKey`, messages and seconds by `DelayKey`."""

    def __init__(self) -> None:
        self.counts: defaultdict[CountKey, list[int]] = defaultdict(lambda: [0, 0])
        self.delays: defaultdict[DelayKey, list[float]] = defaultdict(lambda: [0, 0.0])
        self.progress: list[Progress] = []

    def add(self, before: Before, track: Track) -> None:
        """Add what became of a message that was *before* and now is as *track* says."""
        after = _key(track)
        if after is None or after == before.key:
            return
        if before.key is not None:
            self._count(before.key, -1, -before.segments)
        self._count(after, 1, track.segments)
        passed = track.passed & ~before.passed
        queue_delay = delivery_delay = None
        if track.accepted_at is not None:
            # A callback may come before the answer to its request.
            if Passed.LEFT in passed and track.left_at is not None:
                queue_delay = max(0.0, track.left_at - track.accepted_at)
                self._delay("queue", after, queue_delay)
            if Passed.ENDED in passed and track.status in {"delivered", "read"} and track.by == "callback":
                delivery_delay = max(0.0, track.changed_at - track.accepted_at)
                self._delay("delivery", after, delivery_delay)
        self.progress.append(
            Progress(
                campaign=after.campaign,
                sender=after.sender,
                status=after.status,
                code=track.code,
                segments=track.segments,
                passed=passed,
                was_queued=before.is_queued,
                is_queued=_is_queued(track),
                accepted_at=track.accepted_at or track.changed_at,
                left_at=track.left_at or track.changed_at,
                changed_at=track.changed_at,
                queue_delay=queue_delay,
                delivery_delay=delivery_delay,
            )
        )

    def _count(self, key: CountKey, messages: int, segments: int) -> None:
        count = self.counts[key]
        count[0] += messages
        count[1] += segments

    def _delay(self, what: str, key: CountKey, seconds: float) -> None:
        delay = self.delays[DelayKey(what, key.campaign, key.sender, bisect_left(DELAY_BOUNDS, seconds))]
        delay[0] += 1
        delay[1] += seconds


def _key(track: Track) -> CountKey | None:
    if track.campaign is None:
        return None
    return CountKey(track.campaign, track.sender or "", track.carrier or "", track.status, track.code or 0)


def _is_queued(track: Track) -> bool:
    """Say whether the message waits in Twilio's queue, as far as is known."""
    return track.campaign is not None and track.is_at_twilio and Passed.LEFT not in track.passed
