"""Decides which message leaves when: serves the lanes whose gates are open, and knows when to look again."""

from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from itertools import count
from math import inf

from dispatcher.domain.message import Message
from dispatcher.pacing.fair_queue import Flow
from dispatcher.pacing.gates import Gate
from dispatcher.pacing.lane import Lane


class Pacer:
    """Lanes wait at gates; nothing else waits and nothing polls.

    A lane with messages waits at exactly one gate, the first that is closed, in that gate's line. When the gate opens
    (its time comes, or `poke` says that an event may have opened it) its line is served from the front for as long as
    it stays open, so that lanes that share a limit take turns.

    *admit* has the last word on a message whose turn it is: False means that it is dealt with and must not leave.
    *depart* is called with each message that leaves. *run_dry* is called with a lane that has nothing left.
    """

    def __init__(
        self,
        *,
        admit: Callable[[Message, float], bool],
        depart: Callable[[Message, Lane, float], None],
        run_dry: Callable[[Lane, float], None],
    ) -> None:
        self._admit = admit
        self._depart = depart
        self._run_dry = run_dry
        self._agenda: list[tuple[float, int, Gate]] = []
        self._visits: list[tuple[float, int, Lane]] = []
        self._order = count()
        self._fresh: deque[Lane] = deque()

    def offer(self, lane: Lane, message: Message, *, front: bool = False) -> None:
        """Let *message* wait in *lane*; it leaves in the next `run` at the earliest."""
        lane.queue.push(message, front=front)
        self.touch(lane)

    def touch(self, lane: Lane) -> None:
        """Have *lane* served in the next `run` if it waits at no gate."""
        if lane.waiting_at is None:
            self._fresh.append(lane)

    def visit(self, lane: Lane, when: float) -> None:
        """`touch` *lane* at *when*."""
        heappush(self._visits, (when, next(self._order), lane))

    def run(self, now: float) -> None:
        """Let everything leave that may leave at *now*."""
        while self._visits and self._visits[0][0] <= now:
            self.touch(heappop(self._visits)[2])
        while self._agenda and self._agenda[0][0] <= now:
            due, _, gate = heappop(self._agenda)
            if due == gate.due:
                gate.due = inf
                self.poke(gate, now)
        while self._fresh:
            lane = self._fresh.popleft()
            if lane.waiting_at is None:
                self._serve(lane, now)

    def poke(self, gate: Gate, now: float) -> None:
        """Something happened that may have opened *gate*: serve its line for as long as it is open."""
        while gate.waiting:
            opens_at = gate.opens_at(now)
            if opens_at > now:
                self._schedule(gate, opens_at)
                return
            waiter = gate.waiting.popleft()
            if isinstance(waiter, Flow):
                lane: Lane = waiter.queue.lane
                waiter.queue.release(waiter)
                if lane.waiting_at is not None:
                    continue
            else:
                lane = waiter
            self._serve(lane, now)

    def look_again(self, gates: Iterable[Gate]) -> None:
        """Something happened that may have opened *gates*, but nobody may leave now: the next `run` will see."""
        for gate in gates:
            if gate.waiting:
                self._schedule(gate, 0.0)

    def dissolve(self, gate: Gate) -> None:
        """*gate* of a campaign holds nobody any more: what waits at it goes on."""
        while gate.waiting:
            flow: Flow = gate.waiting.popleft()
            flow.queue.release(flow)
            self.touch(flow.queue.lane)

    def next_due(self) -> float:
        """Return when `run` has to be called next; inf: not before something happens."""
        if self._fresh:
            return 0.0
        due = self._agenda[0][0] if self._agenda else inf
        return min(due, self._visits[0][0]) if self._visits else due

    def hold(self, gate: Gate, flow: Flow, now: float) -> None:
        """Let *flow* wait at the *gate* of its campaign."""
        gate.waiting.append(flow)
        self._schedule(gate, gate.opens_at(now))

    def _serve(self, lane: Lane, now: float) -> None:
        lane.waiting_at = None
        while lane.queue.count:
            closed = lane.closed_gate(now)
            if closed is not None:
                gate, opens_at = closed
                gate.waiting.append(lane)
                lane.waiting_at = gate
                self._schedule(gate, opens_at)
                return
            message = lane.queue.pop(now)
            if message is None:
                return  # all that wait are held at the gates of their campaigns
            if self._admit(message, now):
                lane.take(message, now)
                self._depart(message, lane, now)
        self._run_dry(lane, now)

    def _schedule(self, gate: Gate, when: float) -> None:
        if when < gate.due:
            gate.due = when
            heappush(self._agenda, (when, next(self._order), gate))
