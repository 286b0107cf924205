"""Lanes in motion: a pacer, the answers it gets and a clock that jumps from one event to the next."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random

from dispatcher.domain.fleet import Fleet
from dispatcher.domain.message import Message
from dispatcher.pacing.hierarchy import Hierarchy
from dispatcher.pacing.lane import Lane
from dispatcher.pacing.pacer import Pacer

START = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """A message that left, when (seconds of the start) and by which lane."""

    at: float
    lane: Lane
    message: Message


class Traffic:
    """Every request is answered after *latency*: accepted, unless *is_refused* says that it meets a 429.

    Timers ring up to *late* seconds late. With a *journal* a message may leave so long after it was announced, *ahead*
    seconds before its time.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        weights: Sequence[int] = (1,),
        queue_target: float = 1.0,
        latency: Callable[[Random], float] = lambda _: 0.15,
        is_refused: Callable[[Random, float], bool] = lambda _random, _at: False,
        late: float = 0.0,
        journal: Callable[[Random], float] | None = None,
        ahead: float = 0.05,
        seed: int = 0,
    ) -> None:
        self.pacer = Pacer(
            admit=lambda _message, _now: True,
            depart=self._depart,
            run_dry=lambda _lane, _now: None,
            announce=None if journal is None else self._announce,
            ahead=0.0 if journal is None else ahead,
        )
        self.hierarchy = Hierarchy(
            fleet, weights=weights, queue_target=queue_target, random=Random(seed), hold=self.pacer.hold
        )
        self.now = START
        self.announced: dict[int, float] = {}
        self.departures: list[Departure] = []
        self.accepted: list[Departure] = []
        self.runs = 0
        self.deepest: dict[Lane, float] = {}
        self._fleet = fleet
        self._random = Random(seed)
        self._latency = latency
        self._is_refused = is_refused
        self._late = late
        self._journal = journal
        self._order = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def lane(self, message: Message, number: str) -> Lane:
        sender, carrier = self._fleet.senders[number], message.job.carrier
        lane_of = self.hierarchy.media_lane if message.job.media_urls else self.hierarchy.lane
        return lane_of(sender, carrier)

    def offer(self, number: str, messages: Iterable[Message]) -> None:
        for message in messages:
            self.pacer.offer(self.lane(message, number), message)

    def run(self, seconds: float = inf) -> None:
        """Go on for *seconds*, or until nothing more will ever happen."""
        until = self.now + seconds
        timer = self._timer()
        while True:
            event = self._events[0][0] if self._events else inf
            at = min(timer, event)
            if at > until or at == inf:
                self.now = until if until < inf else self.now
                self._assert_no_lane_waits_twice()
                return
            self.now = max(self.now, at)
            if event <= timer:
                heappop(self._events)[2]()
                timer = min(timer, self._timer())
            else:
                self.runs += 1
                self.pacer.run(self.now)
                timer = self._timer()

    def _assert_no_lane_waits_twice(self) -> None:
        lanes = list(self.hierarchy.lanes())
        gates = {gate for lane in lanes for gate in lane.shared}
        waiting = Counter(id(lane) for gate in gates for lane in gate.waiting)
        assert all(waiting[id(lane)] == (lane.waiting_at is not None) for lane in lanes)

    def _timer(self) -> float:
        return self.pacer.next_due() + self._random.uniform(0.0, self._late)

    def _depart(self, message: Message, lane: Lane, now: float) -> None:
        message.departed_at = now
        departure = Departure(at=now - START, lane=lane, message=message)
        self.departures.append(departure)
        self._later(self._latency(self._random), lambda: self._answer(departure))

    def _announce(self, message: Message, lane: Lane) -> None:
        self.announced[id(message)] = self.now - START
        if self._journal is not None:
            self._later(self._journal(self._random), lambda: self.pacer.announced(lane, message))

    def _later(self, seconds: float, happen: Callable[[], None]) -> None:
        heappush(self._events, (self.now + seconds, next(self._order), happen))

    def _answer(self, departure: Departure) -> None:
        lane, message = departure.lane, departure.message
        refused = self._is_refused(self._random, self.now - START)
        late_by = lane.concurrency.answered(self.now - message.departed_at, self.now, healthy=not refused)
        if refused:
            lane.concurrency.refuse(message.departed_at, None, self.now)
            lane.give_back(message)
            self.pacer.go_again(lane, message)
        else:
            self.accepted.append(departure)
            lane.accept(message, self.now, late_by)
        for gate in lane.gates:
            if gate.waiting:
                self.pacer.poke(gate, self.now)


def largest_in_a_second(departures: Iterable[Departure], cost: Callable[[Departure], float]) -> float:
    """Return the most that left in any window of one second."""
    window: list[tuple[float, float]] = []
    first, total, largest = 0, 0.0, 0.0
    for departure in departures:
        window.append((departure.at, cost(departure)))
        total += cost(departure)
        while window[first][0] <= departure.at - 1.0:
            total -= window[first][1]
            first += 1
        largest = max(largest, total)
    return largest
