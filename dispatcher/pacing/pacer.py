"""Decides which message leaves when: serves the lanes whose gates are open, and knows when to look again."""

from collections import deque
from collections.abc import Callable, Iterable
from math import inf

from dispatcher.domain.message import Message
from dispatcher.pacing.agenda import Agenda
from dispatcher.pacing.fair_queue import Flow
from dispatcher.pacing.gates import Gate
from dispatcher.pacing.lane import Lane


class Pacer:
    """Lanes wait at gates; nothing else waits and nothing polls.

    A lane with messages waits at exactly one gate, the first that is closed, in that gate's line. When the gate opens
    (its time comes, or `poke` says that an event may have opened it) its line is served from the front for as long as
    it stays open, so that lanes that share a limit take turns.

    A message is chosen from its lane's queue a little before it leaves, *ahead* seconds at most, and *announce* is
    told; `announced` is called with it once it may leave. Without *announce* a message may leave at once.

    *admit* has the last word on a message whose turn it is: False means that it is dealt with and must not leave.
    *depart* is called with each message that leaves. *run_dry* is called with a lane that has nothing left.
    """

    def __init__(
        self,
        *,
        admit: Callable[[Message, float], bool],
        depart: Callable[[Message, Lane, float], None],
        run_dry: Callable[[Lane, float], None],
        announce: Callable[[Message, Lane], None] | None = None,
        ahead: float = 0.0,
    ) -> None:
        self._announce = announce or self._may_leave_at_once
        self._ahead = ahead
        self._admit = admit
        self._depart = depart
        self._run_dry = run_dry
        self._agenda: Agenda[Gate] = Agenda()
        self._visits: Agenda[Lane] = Agenda()
        self._fresh: deque[Lane] = deque()

    def offer(self, lane: Lane, message: Message, *, front: bool = False) -> None:
        """Let *message* wait in *lane*; it leaves in the next `run` at the earliest."""
        lane.queue.push(message, front=front)
        self.touch(lane)

    def touch(self, lane: Lane) -> None:
        """Have *lane* served in the next `run` if it waits at no gate."""
        if lane.waiting_at is None:
            self._fresh.append(lane)

    def announced(self, lane: Lane, message: Message) -> None:
        """*message*, of which *announce* was told, may leave by *lane* now."""
        lane.ready.append(message)
        self.touch(lane)

    def go_again(self, lane: Lane, message: Message) -> None:
        """Let *message*, which left for nothing, be the next of *lane*; what left earlier goes again earlier."""
        lane.go_again(message)
        if lane.waiting_at is lane.standby:  # that message has no need to: it was announced
            lane.standby.waiting.remove(lane)
            lane.waiting_at = None
        self.touch(lane)

    def withdraw(self, lane: Lane, message: Message) -> None:
        """*message*, of which *announce* was told, does not leave by *lane*."""
        lane.withdraw(message)
        # What waits behind it would be chosen when it had left; when nothing else stands by, nothing else sees to that.
        self.touch(lane)
        self.look_again((lane.standby,))

    def drain(self, lane: Lane) -> list[Message]:
        """Take everything that is ready or waits out of *lane*."""
        drained = list(lane.drain())
        self.look_again((lane.standby,))
        return drained

    def visit(self, lane: Lane, when: float) -> None:
        """See to *lane* at *when*."""
        self._visits.add(when, lane)

    def run(self, now: float) -> None:
        """Let everything leave that may leave at *now*."""
        while self._visits.next_due <= now:
            for _, lane in self._visits.take(now):
                if lane.waiting_at is None:
                    self._fresh.append(lane)
                else:
                    self._prepare_ahead(lane, now)
        while self._agenda.next_due <= now:
            for due, gate in self._agenda.take(now):
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
                if gate is lane.standby and not self._choose(lane, now) and lane.queue.count:
                    lane.waiting_at = None
                    continue  # all that wait are held by their campaigns, which bring the lane back
            self._serve(lane, now)

    def look_again(self, gates: Iterable[Gate]) -> bool:
        """Something happened that may have opened *gates*: the next `run` will see. Say whether anybody waits there."""
        does_anybody_wait = False
        for gate in gates:
            if gate.waiting:
                self._schedule(gate, 0.0)
                does_anybody_wait = True
        return does_anybody_wait

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
        return min(self._agenda.next_due, self._visits.next_due)

    def hold(self, gate: Gate, flow: Flow, now: float) -> None:
        """Let *flow* wait at the *gate* of its campaign."""
        gate.waiting.append(flow)
        self._schedule(gate, gate.opens_at(now))

    def _serve(self, lane: Lane, now: float) -> None:
        lane.waiting_at = None
        while lane.queue.count or lane.ready:
            closed = lane.closed_gate(now)
            if closed is not None:
                self._wait(lane, *closed, now)
                return
            self._prepare(lane, now)
            if not lane.ready:
                if not lane.prepared and lane.queue.count and not lane.standby.is_free:
                    self._wait(lane, lane.standby, lane.standby.opens_at(now), now)
                return  # `announced` comes back to it; or all that wait are held at the gates of their campaigns
            message = lane.leave()
            if lane.standby.waiting:
                self._schedule(lane.standby, 0.0)
            if self._admit(message, now):
                lane.take(message, now)
                self._depart(message, lane, now)
        if not lane.prepared:
            self._run_dry(lane, now)

    def _wait(self, lane: Lane, gate: Gate, opens_at: float, now: float) -> None:
        """Put *lane* into the line of *gate*, with what leaves next announced in time."""
        gate.waiting.append(lane)
        lane.waiting_at = gate
        self._schedule(gate, opens_at)
        if gate is lane.concurrency or opens_at - self._ahead <= now:
            self._prepare_ahead(lane, now)
        elif self._ahead and not lane.prepared and opens_at < inf:
            self.visit(lane, opens_at - self._ahead)

    def _prepare_ahead(self, lane: Lane, now: float) -> None:
        if self._ahead:
            self._prepare(lane, now)

    def _prepare(self, lane: Lane, now: float) -> None:
        """Choose the messages that *lane* sends within *ahead* seconds, at least one, and have them announced."""
        while lane.queue.count and lane.is_short(self._ahead):
            if not self._choose(lane, now):
                return

    def _choose(self, lane: Lane, now: float) -> bool:
        """Have the next message of *lane* announced; False when all that wait are held by their campaigns."""
        message = lane.queue.pop(now)
        if message is None:
            return False
        lane.prepare(message, now)
        self._announce(message, lane)
        return True

    @staticmethod
    def _may_leave_at_once(message: Message, lane: Lane) -> None:
        lane.ready.append(message)

    def _schedule(self, gate: Gate, when: float) -> None:
        if when < gate.due:
            gate.due = when
            self._agenda.add(when, gate)
