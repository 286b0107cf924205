"""Watches a worker at work: where its messages wait, how deep its queues at Twilio are, what it counts."""

import resource
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Final

from dispatcher.clock import Clock
from dispatcher.domain.fleet import CARRIERS, Fleet, Sender
from dispatcher.engine.pipeline import Pipeline
from dispatcher.pacing.lane import Lane
from dispatcher.telemetry import metrics

IDLE: Final = "idle"
_JOURNAL: Final = "journal"
# https://man7.org/linux/man-pages/man5/proc_stat.5.html
_LINUX_CORES: Final = Path("/proc/stat")


def flow_of(sender: Sender, carrier: str | None) -> str:
    """Return the name of what drains at a rate of its own: a sender, or a 10DLC campaign with a carrier."""
    return sender.number if sender.a2p_campaign is None else f"{sender.a2p_campaign}/{carrier or 'unknown'}"


@dataclass(slots=True)
class Sight:
    """What was seen of one flow: at how many looks its messages waited where, and its deepest queue in seconds."""

    places: Counter[str] = field(default_factory=Counter)
    deepest: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the worker had counted at a moment; *cpu* in seconds, histograms as counts up to each bound.

    *machine* is the time that its cores have worked, and that there was, in any unit.
    """

    at: float
    epoch: float
    cpu: float
    machine: tuple[float, float]
    received: float
    requests: Mapping[tuple[str, ...], float]
    errors: Mapping[tuple[str, ...], float]
    answered: Mapping[str, Mapping[float, float]]
    waited: Mapping[float, float]
    journal: Mapping[float, float]

    def of(self, outcome: str) -> list[float]:
        """Return how many requests of each account had *outcome*."""
        return [count for (_, known), count in self.requests.items() if known == outcome]


class Watch:
    """Looks at the lanes of a pipeline, whenever it is told to."""

    def __init__(self, fleet: Fleet, clock: Clock, *, urgent: str) -> None:
        self._fleet = fleet
        self._clock = clock
        self._urgent = urgent
        self._lanes: list[tuple[str, Lane]] = []
        self._pipeline: Pipeline | None = None
        self.flows: dict[str, Sight] = {}

    def begin(self, pipeline: Pipeline) -> None:
        """Watch *pipeline* from now on."""
        self._pipeline = pipeline
        for sender in self._fleet.senders.values():
            for carrier in CARRIERS if sender.a2p_campaign else (None,):
                self._lanes.append((flow_of(sender, carrier), pipeline.hierarchy.lane(sender, carrier)))
        self.forget()

    def forget(self) -> None:
        """Begin anew: what was seen so far does not count."""
        self.flows = {name: Sight() for name, _ in self._lanes}

    def look(self) -> None:
        """Note where every flow's messages wait now; a flow is idle when all of its numbers are."""
        now = self._clock.monotonic()
        places: dict[str, Counter[str]] = {name: Counter() for name in self.flows}
        for name, lane in self._lanes:
            places[name][_place(lane)] += 1
            deepest = max(gate.model.depth(now) / gate.model.rate for gate in lane.queues)
            self.flows[name].deepest = max(self.flows[name].deepest, deepest)
        for name, found in places.items():
            busy = Counter({place: lanes for place, lanes in found.items() if place != IDLE})
            self.flows[name].places[(busy or found).most_common(1)[0][0]] += 1

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is in flight now."""
        return all(_place(lane) == IDLE for _, lane in self._lanes) and not (
            self._pipeline and self._pipeline.answers.in_flight
        )

    def at_once(self) -> dict[str, int]:
        """Return how many requests each account may have in flight, as far as was found out."""
        gates = self._pipeline.hierarchy.concurrency if self._pipeline else {}
        return {name: int(gate.limit.limit) for name, gate in gates.items()}

    def read(self) -> Reading:
        """Return what the worker has counted so far."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return Reading(
            at=self._clock.monotonic(),
            epoch=self._clock.epoch(),
            cpu=used.ru_utime + used.ru_stime,
            machine=_cores(),
            received=sum(_totals(metrics.JOBS_RECEIVED).values()),
            requests=_totals(metrics.REQUESTS),
            errors=_totals(metrics.TWILIO_ERRORS),
            answered={name: _buckets(metrics.REQUEST_SECONDS, name) for name in self._fleet.accounts},
            waited=_buckets(metrics.WAITED_SECONDS, self._urgent),
            journal=_buckets(metrics.JOURNAL_SECONDS),
        )


def percentile(before: Mapping[float, float], after: Mapping[float, float], share: float) -> float | None:
    """Return what *share* of the values between two readings of a histogram lies below; None without values.

    Within a bucket values are taken to lie evenly, as Prometheus's `histogram_quantile` does; above the last bound
    there is nothing to go by, so that is the answer then.
    """
    counts = {bound: count - before.get(bound, 0.0) for bound, count in sorted(after.items())}
    wanted = share * counts.get(inf, 0.0)
    if not wanted:
        return None
    lower, below = 0.0, 0.0
    for bound, count in counts.items():
        if count >= wanted:
            return lower if bound == inf else lower + (bound - lower) * (wanted - below) / (count - below)
        lower, below = bound, count
    return lower


def _place(lane: Lane) -> str:
    """Say where the messages of *lane* wait."""
    if not lane.queue.count and not lane.prepared:
        return IDLE
    if lane.waiting_at is None:
        return "worker" if lane.ready or not lane.prepared else _JOURNAL
    reason = lane.waiting_at.reason
    if reason == _JOURNAL and lane.concurrency.in_flight >= int(lane.concurrency.limit.limit):
        return lane.concurrency.reason  # others stand by only because no more may be in flight
    return reason


def _cores() -> tuple[float, float]:
    """Return how long this machine's cores have worked since its start, and how long there were any; where Linux is."""
    try:
        times = [int(field) for field in _LINUX_CORES.read_text(encoding="ascii").partition("\n")[0].split()[1:9]]
    except OSError:
        return 0.0, 0.0
    idle = sum(times[3:5])  # idle, and waiting for disks
    return sum(times) - idle, sum(times)


def _totals(counter: Any) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels.values()): sample.value
        for family in counter.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    }


def _buckets(histogram: Any, label: str | None = None) -> dict[float, float]:
    """Return how many values lie up to each bound, of the series with *label*, or of the one without."""
    return {
        float(sample.labels["le"]): sample.value
        for family in histogram.collect()
        for sample in family.samples
        if sample.name.endswith("_bucket") and (label is None or label in set(sample.labels.values()))
    }
