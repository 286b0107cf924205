"""Whether the dispatcher kept what it promises while it was rehearsed, by its results and what the stand-in saw."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dispatcher.bench.tally import Tally
from dispatcher.simulator.judgement import overruns


@dataclass(frozen=True, slots=True)
class Seen:
    """What the stand-in saw, by its reports before and after; nothing where there is none.

    It drains those in *slowed* at so much less than their rate. It had to do for *busy_for* seconds.
    """

    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    slowed: Mapping[str, float] = field(default_factory=dict)
    busy_for: float = 0.0

    @property
    def is_fresh(self) -> bool:
        """Whether nobody had used it before."""
        return self.before is not None and not self.before["messages"]

    @property
    def cpu(self) -> float:
        """What it used of a core."""
        if self.before is None or self.after is None or not self.busy_for:
            return 0.0
        used: float = self.after["cpu_seconds"] - self.before["cpu_seconds"]
        return used / self.busy_for

    def foreign(self, found: Tally, in_doubt: int) -> int:
        """Return how many of the messages that it took were not ours; of those *in_doubt* it may have any."""
        return max(0, self._taken() - found.statuses["accepted"] - in_doubt)

    def broken(self, found: Tally, *, is_shared: bool) -> Iterator[str]:
        """Yield a sentence for each promise that did not hold.

        How fast senders were driven shows a stand-in that nobody else used, before or meanwhile. What it drains slower
        says nothing about that.
        """
        accepted = found.statuses["accepted"]
        if found.twice:
            yield f"{found.twice:,} jobs have more than one result"
        if self.after is None:
            return
        if self._taken() < accepted:
            yield f"{accepted:,} results say accepted, and the stand-in accepted {self._taken():,} messages"
        if self.is_fresh and not is_shared:
            yield from overruns(_without(self.after, self.slowed))

    def _taken(self) -> int:
        if self.before is None or self.after is None:
            return 0
        return int(self.after["messages"] - self.before["messages"])


def _without(report: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return *report* but for the senders, 10DLC campaigns and `campaign/carrier` with these *names*."""
    return {
        **report,
        "senders": {number: flow for number, flow in report["senders"].items() if number not in names},
        "media": {number: flow for number, flow in report["media"].items() if number not in names},
        "campaigns": {
            campaign: {carrier: flow for carrier, flow in carriers.items() if f"{campaign}/{carrier}" not in names}
            for campaign, carriers in report["campaigns"].items()
            if campaign not in names
        },
    }
