"""What the stand-in saw: the oracle that the dispatcher's promises are held against.

Rates, peaks and depths are in segments, times in seconds on the monotonic clock.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dispatcher.simulator.carrier import MEDIA, Carriers
from dispatcher.simulator.fifo import SenderQueue
from dispatcher.simulator.message import Message
from dispatcher.simulator.meter import Meter

_REPEATED_SHOWN = 20


@dataclass(slots=True)
class Desk:
    """What one account asked of the API, in requests; refusals by code, and by code in each second since the start."""

    sid: str
    requests: int = 0
    in_flight: int = 0
    concurrency_peak: int = 0
    refusals: Counter[int] = field(default_factory=Counter)
    refusals_by_second: dict[int, Counter[int]] = field(default_factory=dict)

    def enter(self) -> int:
        """Count a request that begins and return how many are in flight with it."""
        self.in_flight += 1
        self.concurrency_peak = max(self.concurrency_peak, self.in_flight)
        return self.in_flight

    def leave(self) -> None:
        """Count a request that was answered."""
        self.in_flight -= 1

    def refuse(self, code: int, second: int) -> None:
        """Count a refusal with *code*, in the *second* since the start."""
        self.refusals[code] += 1
        self.refusals_by_second.setdefault(second, Counter())[code] += 1


@dataclass(slots=True)
class CallbackCounts:
    """What became of the status callbacks. *sent* counts those that were answered with 2xx, repeats included.

    *forged* were signed by somebody else and refused; *forged_taken* were answered with 2xx all the same.
    """

    sent: int = 0
    failed: int = 0
    retried: int = 0
    duplicated: int = 0
    late: int = 0
    lost: int = 0
    forged: int = 0
    forged_taken: int = 0
    not_loopback: int = 0
    waiting: int = 0


def build_report(
    carriers: Carriers, desks: Mapping[str, Desk], callbacks: CallbackCounts, *, started: float, now: float
) -> dict[str, Any]:
    """Return the report, ready for JSON, as of *now*."""
    return {
        "started_at": started,
        "seconds": now - started,
        "messages": len(carriers.messages),
        "reached": dict(carriers.reached),
        "texted_twice": {
            "texts": carriers.repeated.total(),
            "mids": [mid for mid, _ in carriers.repeated.most_common(_REPEATED_SHOWN)],
        },
        "senders": {
            number: _flow(line.meter, carriers.queues.get(number)) | {"failures": _by_code(line.failures)}
            for number, line in carriers.lines.items()
        },
        "media": {
            number: _flow(queue.meter, queue)
            for number in carriers.lines
            if (queue := carriers.queues.get(f"{number}{MEDIA}")) is not None and queue.meter.messages
        },
        "campaigns": _campaigns(carriers),
        "brands": _brands(carriers),
        "accounts": {
            name: {
                "sid": desk.sid,
                "requests": desk.requests,
                "concurrency_peak": desk.concurrency_peak,
                "peak_messages_1s": carriers.account_peaks[desk.sid].peak,
                "refusals": _by_code(desk.refusals),
                "refusals_by_second": {
                    str(second): _by_code(codes) for second, codes in desk.refusals_by_second.items()
                },
            }
            for name, desk in desks.items()
        },
        "families": {
            name: {
                "rate": carriers.family_rate,
                "peak_messages_1s": window.peak,
                "peak_media_1s": {
                    str(kind): peak.peak for (family, kind), peak in carriers.media_peaks.items() if family == name
                },
            }
            for name, window in carriers.family_peaks.items()
        },
        "callbacks": asdict(callbacks),
    }


def log_entry(message: Message, sid: str) -> dict[str, Any]:
    """Return *message* as the log of accepted messages shows it."""
    return {
        "seq": message.seq,
        "at": message.at,
        "sid": sid,
        "to": message.to,
        "from": message.sender,
        "service": message.service,
        "media": message.media,
        "account": message.account,
        "segments": message.segments,
        "mid": message.mid,
        "attempt": message.attempt,
        "receiver": message.receiver,
        "status": message.status,
        "code": message.code,
    }


def _campaigns(carriers: Carriers) -> dict[str, dict[str, Any]]:
    campaigns: dict[str, dict[str, Any]] = {}
    for name, queue in carriers.queues.items():
        campaign, slash, carrier = name.partition("/")
        if slash and (queue.meter.messages or not carrier.endswith(MEDIA)):
            campaigns.setdefault(campaign, {})[carrier] = _flow(queue.meter, queue)
    return campaigns


def _brands(carriers: Carriers) -> dict[str, dict[str, int]]:
    """Return the segments to T-Mobile of each brand by its day, which is one in US Pacific time."""
    brands: dict[str, dict[str, int]] = {}
    for (brand, day), segments in carriers.tmobile_days.items():
        brands.setdefault(brand, {})[day.isoformat()] = segments
    return brands


def _flow(meter: Meter, queue: SenderQueue | None) -> dict[str, Any]:
    """Return what came, and what it did to *queue*; a number in a 10DLC campaign has none of its own."""
    return {
        "rate": queue.rate if queue else None,
        "achieved_rate": meter.achieved_rate,
        "messages": meter.messages,
        "segments": meter.segments,
        "first_at": meter.first_at,
        "last_at": meter.last_at,
        "peak_1s": meter.peak_1s,
        "peak_100ms": meter.peak_100ms,
        "largest": meter.largest,
        "deepest_seconds": queue.deepest_seconds if queue else None,
        "deepest_segments": queue.deepest_segments if queue else None,
    }


def _by_code(codes: Counter[int]) -> dict[str, int]:
    return {str(code): count for code, count in sorted(codes.items())}
