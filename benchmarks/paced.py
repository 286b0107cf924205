"""The real gates, lanes, pacer and timer on a real loop, with more messages than can leave and nobody to send to."""

import asyncio
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from math import inf
from random import Random
from typing import Any, cast

from dispatcher.clock import Clock
from dispatcher.domain.fleet import Account, Fleet, Secret, Sender, SenderKind
from dispatcher.domain.job import Job
from dispatcher.domain.message import Message
from dispatcher.domain.rate import Rate
from dispatcher.engine.driver import Driver
from dispatcher.pacing.hierarchy import Hierarchy
from dispatcher.pacing.lane import Lane
from dispatcher.pacing.pacer import Pacer
from dispatcher.pacing.turns import Share

# Of one sender: more than falls due between two looks at it.
_WAITING = 10


class PacedFleet:
    """So many *senders* of *rate*; those that are *busy* (all, unless told) always have messages waiting.

    What leaves is answered at once, and waits anew. *left* is when messages left, by sender (monotonic).
    """

    def __init__(self, senders: int, rate: Rate, clock: Clock, *, busy: int | None = None) -> None:
        self.left: defaultdict[str, list[float]] = defaultdict(list)
        self._clock = clock
        self._unanswered: list[tuple[Message, Lane]] = []
        self._is_running = False
        self._driver = Driver(cast(Any, self), clock)
        self._pacer = Pacer(
            admit=lambda _message, _now: True, depart=self._depart, run_dry=lambda _lane, _now: None, ahead=0.05
        )
        hierarchy = Hierarchy(
            _fleet(senders, rate), weights=[1], queue_target=1.0, random=Random(1), hold=self._pacer.hold
        )
        # As a worker does when it gets its partitions: nothing is saved up.
        hierarchy.share(Share(), clock.monotonic())
        for lane in list(hierarchy.lanes())[:busy]:
            for number in range(_WAITING):
                self._pacer.offer(lane, _message(lane, number))

    async def run_for(self, seconds: float) -> None:
        """Let messages leave for so long."""
        self._is_running = True
        self._driver.wake()
        await asyncio.sleep(seconds)
        self._is_running = False

    def next_due(self) -> float:
        """For the driver: when to look again."""
        return self._pacer.next_due() if self._is_running else inf

    def run(self) -> None:
        """For the driver: let everything leave whose time has come, and answer it."""
        self._pacer.run(self._clock.monotonic())
        now = self._clock.monotonic()
        answered, self._unanswered = self._unanswered, []
        for message, lane in answered:
            late_by = lane.concurrency.answered(now - message.departed_at, now, healthy=True)
            lane.accept(message, now, late_by)
            self._pacer.offer(lane, message)
            for gate in lane.shared:
                if gate.waiting:
                    self._pacer.poke(gate, now)

    def _depart(self, message: Message, lane: Lane, now: float) -> None:
        message.departed_at = now
        self.left[lane.name].append(now)
        self._unanswered.append((message, lane))


class _Origin:
    topic, partition, is_owned = "jobs", 0, True

    def announce(self, offset: int, page: Any) -> None:
        """Never."""

    def settle(self, offset: int) -> None:
        """Never."""

    def is_settled(self, _offset: int) -> bool:
        """Never."""
        return False


def peak(times: Sequence[float], window: float) -> int:
    """Return the most of *times* (in order) that lie within any *window* of so many seconds."""
    return max((bisect_left(times, at + window) - number for number, at in enumerate(times)), default=0)


def _fleet(senders: int, rate: Rate) -> Fleet:
    fast = Rate(1e6, "s")
    account = Account(name="main", sid="AC" + "1" * 32, auth_token=Secret("token"), max_concurrency=128)
    numbers = [f"+1206{5_000_000 + number:07d}" for number in range(senders)]
    made = {number: Sender(number=number, kind=SenderKind.LONG_CODE, account="main", rate=rate) for number in numbers}
    return Fleet(accounts={"main": account}, senders=made, a2p_campaigns={}, brands={}, pools={}, family_rate=fast)


def _message(lane: Lane, number: int) -> Message:
    job = Job(id=f"{lane.name}-{number}", campaign="bench", to="+12065550142", pool="marketing", body="Hello")
    message = Message(job=job, origin=_Origin(), offset=number, priority=0, cost=1, appended_at=0.0)
    message.sender = lane.sender
    return message
