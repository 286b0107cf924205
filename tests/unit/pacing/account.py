"""An account that answers 429 above a ceiling of requests in flight, and a client that always wants more."""

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random

from dispatcher.pacing.gates import ConcurrencyGate

Latency = Callable[[Random], float]
OfTime = Callable[[float], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What happened: when each answer came (seconds of the start), whether it was a 429, and the limit after it."""

    answers: list[tuple[float, bool, float]] = field(default_factory=list)
    cuts: list[tuple[float, float, float]] = field(default_factory=list)

    def accepted_a_second(self, since: float, until: float) -> float:
        accepted = sum(not refused for at, refused, _ in self.answers if since <= at < until)
        return accepted / (until - since)

    def share_refused(self, since: float, until: float) -> float:
        within = [refused for at, refused, _ in self.answers if since <= at < until]
        return sum(within) / max(1, len(within))

    def seconds_until(self, a_second: float, *, since: float) -> float:
        """Return how long after *since* it took until three seconds brought *a_second* on average; inf: for ever."""
        last = int(self.answers[-1][0]) - 3
        reached = (at for at in range(int(since), last) if self.accepted_a_second(at, at + 3) >= a_second)
        return next(reached, inf) - since


def overload(
    *,
    seconds: float,
    ceiling: OfTime,
    latency: Latency,
    refusal: float = 0.0,
    storm: OfTime = lambda _: 0.0,
    maximum: int = 80,
    seed: int = 0,
) -> Run:
    """Ask of an account as much as the gate lets through.

    It answers after *latency*, and a 429 after *refusal* seconds. *storm* is the share of requests that it answers
    with 429 for no reason.
    """
    random, order, run = Random(seed), count(), Run()
    gate = ConcurrencyGate(maximum, Random(seed))
    gate.waiting.append("somebody, always")
    agenda: list[tuple[float, int, float, bool]] = []
    now = start = 1000.0
    inside = 0
    while now < start + seconds:
        while gate.opens_at(now) <= now:
            gate.take(1, now)
            refused = inside >= ceiling(now - start) or random.random() < storm(now - start)
            inside += not refused
            heappush(agenda, (now + (refusal if refused else latency(random)), next(order), now, refused))
        assert 1 <= gate.in_flight <= maximum or not agenda
        now = min(gate.opens_at(now), agenda[0][0] if agenda else inf)
        while agenda and agenda[0][0] <= now:
            _, _, departed_at, refused = heappop(agenda)
            inside -= not refused
            gate.answered(0.1, now, healthy=not refused)
            if refused:
                before = gate.limit.limit
                gate.refuse(departed_at, None, now)
                if gate.limit.limit < before:
                    run.cuts.append((departed_at, now, before))
            assert 1.0 <= gate.limit.limit <= maximum
            run.answers.append((now - start, refused, gate.limit.limit))
    return run
