"""From what a worker counted, and the results it wrote, to what was measured."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import Final

from dispatcher.bench.findings import Account, Flow, Measured
from dispatcher.bench.load import kind_of
from dispatcher.bench.watch import Reading, Watch, flow_of, percentile
from dispatcher.domain.fleet import CARRIERS, Fleet
from dispatcher.domain.outcome import Result
from dispatcher.domain.settings import Settings

_HALF: Final = 0.5
_NEARLY_ALL: Final = 0.99


@dataclass(slots=True)
class Sums:
    """What was accepted, in segments and messages."""

    segments: int = 0
    messages: int = 0

    def add(self, segments: int) -> None:
        """Count a message."""
        self.segments += segments
        self.messages += 1


@dataclass(slots=True)
class Tally:
    """The results, summed up: by status all of them, by whom and where those of the time that is measured.

    *largest* is the largest message of all: while it is being sent a time may begin, or end.
    """

    flows: dict[str, Sums] = field(default_factory=dict)
    accounts: Counter[str] = field(default_factory=Counter)
    pools: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    largest: int = 1
    twice: int = 0
    _seen: set[str] = field(default_factory=set)

    def add(self, result: Result, fleet: Fleet, *, since: float, until: float) -> None:
        """Count *result*; it is of the time that is measured between *since* and *until*, seconds of the epoch."""
        self.statuses[result.status] += 1
        self.twice += result.id in self._seen
        self._seen.add(result.id)
        self.largest = max(self.largest, result.segments)
        sender = fleet.senders.get(result.sender or "")
        at = datetime.fromisoformat(result.at).timestamp()
        if result.status != "accepted" or sender is None or not since <= at < until:
            return
        pool, carrier = kind_of(result.id, fleet)
        self.flows.setdefault(flow_of(sender, carrier), Sums()).add(result.segments)
        self.accounts[sender.account] += 1
        self.pools[pool] += result.segments


def measured(
    found: Tally,
    settings: Settings,
    watch: Watch,
    before: Reading,
    after: Reading,
    *,
    against: str,
    delays: Sequence[float],
    lag: int,
    stand_in_cpu: float,
    slowed: Mapping[str, float],
    foreign: int,
) -> Measured:
    """Put together what was measured between two readings; *delays* is how late the worker's timers were."""
    seconds = after.at - before.at
    urgent = [percentile(before.waited, after.waited, share) for share in (_HALF, _NEARLY_ALL)]
    return Measured(
        against=against,
        seconds=seconds,
        flows=_flows(found, settings.fleet, watch),
        accounts=_accounts(found, settings.fleet, watch, before, after),
        pools=found.pools,
        family_rate=settings.fleet.family_rate,
        queue_target=settings.twilio.queue_target,
        partitions=settings.kafka.partitions,
        machine=_share(before.machine, after.machine),
        cpu=(after.cpu - before.cpu) / seconds,
        late=median(delays) if delays else 0.0,
        lag=lag,
        stand_in_cpu=stand_in_cpu,
        journal=percentile(before.journal, after.journal, _NEARLY_ALL),
        urgent=None if urgent[0] is None or urgent[1] is None else (urgent[0], urgent[1]),
        urgent_messages=int(max(after.waited.values(), default=0) - max(before.waited.values(), default=0)),
        errors={labels[0]: int(count) for labels, count in _grown(before.errors, after.errors).items()},
        slowed=slowed,
        foreign=foreign,
    )


def _flows(found: Tally, fleet: Fleet, watch: Watch) -> list[Flow]:
    configured: dict[str, float] = {}
    numbers: dict[str, list[str]] = {}
    for sender in fleet.senders.values():
        campaign = fleet.a2p_campaigns.get(sender.a2p_campaign or "")
        for carrier in CARRIERS if campaign else (None,):
            rate = campaign.rates[carrier] if campaign and carrier else sender.rate
            name = flow_of(sender, carrier)
            numbers.setdefault(name, []).append(sender.number)
            configured[name] = rate.per_second if rate else 0.0
    flows = []
    for name, per_second in configured.items():
        sums = found.flows.get(name, Sums())
        sight = watch.flows[name]
        flows.append(
            Flow(
                name=name,
                account=fleet.senders[numbers[name][0]].account,
                pools=tuple(
                    pool.name for pool in fleet.pools.values() if not set(pool.senders).isdisjoint(numbers[name])
                ),
                configured=per_second,
                segments=sums.segments,
                messages=sums.messages,
                largest=found.largest,
                places=sight.places,
                deepest=sight.deepest,
            )
        )
    return flows


def _accounts(found: Tally, fleet: Fleet, watch: Watch, before: Reading, after: Reading) -> dict[str, Account]:
    requests = _grown(before.requests, after.requests)
    at_once = watch.at_once()
    return {
        name: Account(
            name=name,
            family=account.family,
            rate=account.rate,
            max_concurrency=account.max_concurrency,
            at_once=at_once.get(name, 0),
            accepted=found.accounts[name],
            throttled=int(requests.get((name, "throttled"), 0)),
            in_doubt=int(requests.get((name, "in_doubt"), 0)),
            typical=percentile(before.answered[name], after.answered[name], _HALF),
            slowest=percentile(before.answered[name], after.answered[name], _NEARLY_ALL),
        )
        for name, account in fleet.accounts.items()
    }


def _share(before: tuple[float, float], after: tuple[float, float]) -> float:
    worked, there = (late - early for early, late in zip(before, after, strict=True))
    return worked / there if there else 0.0


def _grown(
    before: Mapping[tuple[str, ...], float], after: Mapping[tuple[str, ...], float]
) -> dict[tuple[str, ...], float]:
    return {labels: grown for labels, count in after.items() if (grown := count - before.get(labels, 0.0))}
