"""Whether the senders were treated as promised, by what the stand-in saw."""

from collections.abc import Mapping
from typing import Any

# Queue full: 21611 for a sender, 30001 through a service. Too fast for the family: 63017.
_OVERRUN_CODES = frozenset({"21611", "30001", "63017"})
# How far a second may be over the rate: Twilio's queue takes it, and it drains within the next.
TOLERANCE = 1.05


def flows(report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return every queue of *report* that drains at a rate: senders by number, 10DLC campaigns by `name/carrier`.

    Messages with media have queues of their own, whose names end with ` mms`.
    """
    found = {number: flow for number, flow in report["senders"].items() if flow["rate"] is not None}
    found |= {f"{number} mms": flow for number, flow in report["media"].items()}
    for campaign, carriers in report["campaigns"].items():
        found |= {f"{campaign}/{carrier}": flow for carrier, flow in carriers.items()}
    return found


def overruns(report: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each way in which a sender was driven over its rate; none when the promise held.

    The promise: in no second more than the rate x 1.05 and one message, Twilio's queue never deeper than a second of
    the rate and one message, and no refusal because of a full queue.
    """
    found = []
    for name, flow in flows(report).items():
        rate, largest = flow["rate"], flow["largest"]
        if flow["peak_1s"] > rate * TOLERANCE + largest:
            found.append(f"{name} got {flow['peak_1s']} segments in a second at a rate of {rate:g}/s")
        if flow["deepest_segments"] > rate + largest:
            found.append(f"{name} had {flow['deepest_segments']:.1f} segments queued at a rate of {rate:g}/s")
    for name, account in report["accounts"].items():
        refused = {code: count for code, count in account["refusals"].items() if code in _OVERRUN_CODES}
        found += [f"account {name} was refused {count} times with {code}" for code, count in refused.items()]
    return found
