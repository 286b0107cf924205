"""Makes room in memory: what would wait there for minutes waits in Kafka, and comes back shortly before its turn."""

from collections import deque
from collections.abc import Callable, Collection
from math import inf

from dispatcher.clock import Clock
from dispatcher.domain.message import Message
from dispatcher.domain.parking import TIERS
from dispatcher.engine.campaigns import AT_ONCE, Campaigns
from dispatcher.engine.later import Later
from dispatcher.pacing.gates import Gate, RateGate
from dispatcher.pacing.hierarchy import Hierarchy
from dispatcher.pacing.lane import Lane

# What leaves its lane within so many seconds stays in memory.
KEPT = 60.0
# What was parked comes back so many seconds before its turn: no lane runs dry because it comes a little late.
EARLY = 30.0
# While a sender is out it is looked at so often whether it still is. Seconds.
LONGEST = 3600.0
# Calling back costs a copy of all that is parked, so it is done at most this often. Seconds.
CALM = 300.0


class Room:
    """Parks by *later* what waits far behind, with an appointment: the turn it would have by its lane's present rate.

    A lane that has nothing to do before its parked messages have their turn is faster than it was, so all that is
    parked is looked at again: *call_back* is told the tiers, and before when what of them was parked.
    """

    def __init__(
        self,
        hierarchy: Hierarchy,
        later: Later,
        campaigns: Campaigns,
        clock: Clock,
        call_back: Callable[[Collection[str], float], None],
    ) -> None:
        self._hierarchy = hierarchy
        self._later = later
        self._campaigns = campaigns
        self._clock = clock
        self._call_back = call_back
        self._leaving: deque[Message] = deque()
        # When the next message that is parked has its turn, by its lane and by the limit of its campaign: monotonic.
        self._turns: dict[Lane | RateGate, float] = {}
        self._calm_until = -inf
        # Whose appointment was made before that may go at once; in seconds of the epoch.
        self.called_back = -inf
        # When `work` is needed, in monotonic time.
        self.due = inf

    def make(self) -> None:
        """Have everything leave memory that would wait there for longer than `KEPT` seconds."""
        if self._leaving:
            return
        now = self._clock.monotonic()
        throttles = self._hierarchy.throttles.values()
        budgets: dict[Gate, float] = {gate: KEPT * gate.per_second for gate in throttles if isinstance(gate, RateGate)}
        for lane in self._hierarchy.lanes():
            if lane.queue.count:
                self._leaving += lane.queue.trim(lane.rate * max(0.0, KEPT - lane.suspended_for(now)), budgets)
        if self._leaving:
            self.due = 0.0

    def work(self) -> None:
        """Park some of what leaves memory."""
        for _ in range(min(AT_ONCE, len(self._leaving))):
            message = self._leaving.popleft()
            if not (self._campaigns.stopped and self._campaigns.stop(message)):
                self._later.book(message, self._appointment(message))
        self.due = 0.0 if self._leaving else inf

    def ran_dry(self, lane: Lane) -> None:
        """*lane* has nothing to do: if messages are parked for it, they may come."""
        now = self._clock.monotonic()
        turn = self._turns.get(lane)
        if turn is None or lane.suspended_for(now):
            return
        if turn - EARLY <= now:
            del self._turns[lane]  # the last of them is back
        elif now >= self._calm_until:
            self._calm_until = now + CALM
            self.recall()

    def recall(self) -> None:
        """What is parked with an appointment may have its turn earlier: have it come back."""
        self.called_back = self._clock.epoch()
        self._turns.clear()
        self._call_back(TIERS.keys(), self.called_back)

    @property
    def has_parked(self) -> bool:
        """Whether anything may be parked that waits for a turn."""
        return bool(self._turns)

    def forget(self) -> None:
        """Drop what was about to leave: its partitions go to another worker, or will be read again."""
        self._leaving.clear()
        self._turns.clear()
        self.due = inf

    def _appointment(self, message: Message) -> float:
        """Return when *message* is to come back, in seconds of the epoch."""
        now = self._clock.monotonic()
        lane: Lane = message.lane
        limits: dict[Lane | RateGate, float] = {lane: lane.rate}
        throttle = self._hierarchy.throttles.get(message.job.campaign)
        if isinstance(throttle, RateGate):
            limits[throttle] = throttle.per_second
        turn = now + KEPT + min(LONGEST, lane.suspended_for(now))
        turn = max(turn, *(self._turns.get(limit, 0.0) for limit in limits))
        for limit, rate in limits.items():
            self._turns[limit] = turn + message.cost / rate
        return self._clock.epoch() + turn - EARLY - now
