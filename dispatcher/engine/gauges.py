"""Shows what waits, where and for what, and what is in flight: for whoever scrapes the metrics."""

from collections.abc import Mapping

from dispatcher.engine.campaigns import Campaigns
from dispatcher.engine.placement import Placement
from dispatcher.pacing.hierarchy import Hierarchy
from dispatcher.telemetry import metrics

_REASONS = ("sender", "queue", "account", "family", "campaign", "concurrency", "suspended", "held", "journal", "cap")


def count_waiting(hierarchy: Hierarchy, campaigns: Campaigns) -> dict[str, int]:
    """Count the messages that wait in lanes, by what they wait for."""
    waiting = dict.fromkeys(_REASONS, 0)
    for lane in hierarchy.lanes():
        held = campaigns.held_in(lane)
        waiting["held"] += held
        waiting[lane.waits_for] += lane.queue.count + lane.prepared - held
    return waiting


def show(hierarchy: Hierarchy, placement: Placement, waiting: Mapping[str, int], now: float) -> None:
    """Set the gauges to what is so at *now* (monotonic); *waiting* is by what messages wait for."""
    for lane in hierarchy.lanes():
        metrics.LANE_WAITING.labels(lane.name).set(lane.queue.count + lane.prepared)
        depth = max(gate.model.depth(now) / gate.model.rate for gate in lane.queues)
        metrics.QUEUE_SECONDS.labels(lane.name).set(depth)
    for reason, messages in waiting.items():
        metrics.WAITING.labels(reason).set(messages)
    for account, gate in hierarchy.concurrency.items():
        metrics.IN_FLIGHT.labels(account).set(gate.in_flight)
        metrics.CONCURRENCY.labels(account).set(int(gate.limit.limit))
    metrics.MOVED.set(placement.moved)
    metrics.QUARANTINED.set(placement.health.count(now))


def clear() -> None:
    """Show no lane and no account any more, until the next `show`: some may be gone."""
    for measured in (metrics.LANE_WAITING, metrics.QUEUE_SECONDS, metrics.IN_FLIGHT, metrics.CONCURRENCY):
        measured.clear()
