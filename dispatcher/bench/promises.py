"""Whether the dispatcher kept what it promises while it was rehearsed, by its results and what the stand-in saw."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from dispatcher.bench.tally import Tally
from dispatcher.simulator.judgement import overruns

Report = Mapping[str, Any]


def foreign(found: Tally, earlier: Report | None, report: Report | None, in_doubt: int) -> int:
    """Return how many messages the stand-in took that were not ours, between two of its reports.

    Of those *in_doubt* it may have any.
    """
    if earlier is None or report is None:
        return 0
    taken: int = report["messages"] - earlier["messages"]
    return max(0, taken - found.statuses["accepted"] - in_doubt)


def broken(
    found: Tally, earlier: Report | None, report: Report | None, slowed: Collection[str], *, is_shared: bool
) -> Iterator[str]:
    """Yield a sentence for each promise that did not hold.

    How fast senders were driven is judged by a stand-in that nobody else used, before or meanwhile; what it drains
    *slowed* says nothing about that.
    """
    if found.twice:
        yield f"{found.twice:,} jobs have more than one result"
    if earlier is None or report is None:
        return
    taken = report["messages"] - earlier["messages"]
    if taken < found.statuses["accepted"]:
        yield f"{found.statuses['accepted']:,} results say accepted, and the stand-in accepted {taken:,} messages"
    if not earlier["messages"] and not is_shared:
        yield from overruns(_without(report, slowed))


def _without(report: Report, names: Collection[str]) -> dict[str, Any]:
    """Return *report* but for the senders, 10DLC campaigns and `campaign/carrier` with these *names*."""
    return {
        **report,
        "senders": {number: flow for number, flow in report["senders"].items() if number not in names},
        "campaigns": {
            campaign: {carrier: flow for carrier, flow in carriers.items() if f"{campaign}/{carrier}" not in names}
            for campaign, carriers in report["campaigns"].items()
            if campaign not in names
        },
    }
