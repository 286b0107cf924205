"""Measurements for the tests of the rehearsal."""

from collections.abc import Mapping
from typing import Any

from dispatcher.bench.findings import Account, Flow, Measured
from dispatcher.domain.rate import Rate


def flow(**changes: Any) -> Flow:
    """A sender of 100/s that reached half of that, in 10 s."""
    given: dict[str, Any] = {"name": "72345", "account": "main", "pools": ("marketing",), "configured": 100.0}
    return Flow(**given | {"segments": 500, "messages": 400, "places": {"sender": 40}} | changes)


def account(**changes: Any) -> Account:
    given: dict[str, Any] = {"name": "main", "family": "main", "rate": None, "max_concurrency": 80}
    return Account(**given | {"typical": 0.1, "slowest": 0.2, "at_once": 20} | changes)


def measured(*flows: Flow, accounts: Mapping[str, Account] | None = None, **changes: Any) -> Measured:
    given: dict[str, Any] = {
        "against": "Twilio's stand-in",
        "seconds": 10.0,
        "flows": flows,
        "accounts": accounts or {"main": account()},
        "pools": {"marketing": sum(one.segments for one in flows)},
        "family_rate": Rate(2000, "s"),
        "queue_target": 1.0,
        "partitions": 12,
    }
    return Measured(**given | changes)
