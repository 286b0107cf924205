"""The report of a rehearsal: who was to reach what and did, in rows, with what to change."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dispatcher.bench.advice import Advice, advice
from dispatcher.bench.findings import Flow, Measured, Verdict, binding, keeps_up
from dispatcher.domain.fleet import Fleet

AS_CONFIGURED: Final = 0
BROKE_A_PROMISE: Final = 1
TO_BE_CHANGED: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One sender, 10DLC campaign and carrier, account or pool; rates in segments a second.

    *is_short* when it, or something in it, fell short; *bound_by* is what held it where it was. *deepest* is its
    modelled queue at Twilio in seconds, the deepest of the flows in it.
    """

    kind: str
    name: str
    configured: float
    reached: float
    is_short: bool
    bound_by: str
    deepest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All there is to say; *is_judged* when it is known how fast senders were driven."""

    measured: Measured
    rows: Sequence[Row]
    advice: Sequence[Advice]
    troubles: Sequence[str]
    is_judged: bool

    @property
    def exit_code(self) -> int:
        """What the command leaves with."""
        if self.troubles:
            return BROKE_A_PROMISE
        return TO_BE_CHANGED if self.advice else AS_CONFIGURED


def report_on(verdict: Verdict, fleet: Fleet) -> Report:
    """Return the report on what was measured of *fleet*."""
    measured = verdict.measured
    return Report(
        measured=measured,
        rows=list(_rows(measured, fleet)),
        advice=advice(measured),
        troubles=verdict.troubles,
        is_judged=verdict.is_judged,
    )


def _rows(measured: Measured, fleet: Fleet) -> Iterator[Row]:
    for flow in measured.flows:
        kind = "sender" if flow.name in fleet.senders else "campaign"
        yield _row(kind, flow.name, [flow], flow.configured, flow.segments, measured)
    for name in measured.accounts:
        flows = [flow for flow in measured.flows if flow.account == name]
        if flows:
            configured, sent = sum(flow.configured for flow in flows), sum(flow.segments for flow in flows)
            yield _row("account", name, flows, configured, sent, measured)
    for pool in fleet.pools:
        flows = [flow for flow in measured.flows if pool in flow.pools]
        # Pools that share a sender get the same of it.
        configured = sum(flow.configured / len(flow.pools) for flow in flows)
        yield _row("pool", pool, flows, configured, measured.pools.get(pool, 0), measured)


def _row(kind: str, name: str, flows: Sequence[Flow], configured: float, segments: int, measured: Measured) -> Row:
    short = [flow for flow in flows if not keeps_up(flow, measured.seconds)]
    bound = Counter(binding(flow, measured) for flow in short).most_common(1)
    return Row(
        kind=kind,
        name=name,
        configured=configured,
        reached=segments / measured.seconds,
        is_short=bool(short),
        bound_by=bound[0][0] if bound else "sender",
        deepest=max((flow.deepest for flow in flows), default=0.0),
    )


def fields(report: Report) -> Mapping[str, object]:
    """Return *report* as JSON has it; rates in segments a second, times in seconds."""
    measured = report.measured
    urgent = measured.urgent or (None, None)
    return {
        "against": measured.against,
        "seconds": round(measured.seconds, 3),
        "segments_per_second": round(measured.segments / measured.seconds, 3),
        "messages_per_second": round(measured.messages / measured.seconds, 3),
        "flows": [
            {
                "kind": row.kind,
                "name": row.name,
                "configured": round(row.configured, 3),
                "reached": round(row.reached, 3),
                "short": row.is_short,
                "bound_by": row.bound_by,
                "deepest_queue": round(row.deepest, 3),
            }
            for row in report.rows
        ],
        "accounts": {
            name: {
                "requests_at_once": account.at_once,
                "throttled": account.throttled,
                "in_doubt": account.in_doubt,
                "answer_p50": account.typical,
                "answer_p99": account.slowest,
            }
            for name, account in measured.accounts.items()
        },
        "urgent": {"messages": measured.urgent_messages, "p50": urgent[0], "p99": urgent[1]},
        "worker": {"cpu": round(measured.cpu, 3), "late": round(measured.late, 4)},
        "machine": {"cpu": round(measured.machine, 3)},
        "stand_in": {"cpu": round(measured.stand_in_cpu, 3)},
        "kafka": {"intent_p99": measured.journal, "unread": measured.lag},
        "errors": dict(measured.errors),
        "advice": [{"key": one.key, "sentence": one.sentence} for one in report.advice],
        "overruns_judged": report.is_judged,
        "troubles": list(report.troubles),
        "exit_code": report.exit_code,
    }
