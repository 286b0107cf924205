"""What the topic of caps comes to: how much of a day each partition index has been granted. Pure.

Whoever reads the same records knows the same, so an index has what it claimed as soon as its claim can be read.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from dispatcher.domain.claims import CapRecord, Claim, Closed, Takeover

# Days of a cap that are remembered.
DAYS_KEPT = 3


@dataclass(slots=True)
class Stake:
    """What one partition index has of a day: *granted*, and of that *spent* for good before the offset *results*."""

    granted: int = 0
    spent: int = 0
    results: int = 0
    version: tuple[int, int] = (-1, -1)


@dataclass(slots=True)
class DayBook:
    """One day of one cap. *granted* and *spent* are the sums over its *stakes*, by index.

    It *is_scarce* once somebody got less than it wanted: then everybody hands back what it does not need.
    """

    stakes: dict[int, Stake] = field(default_factory=dict)
    granted: int = 0
    spent: int = 0
    is_scarce: bool = False
    is_closed: bool = False

    @property
    def open(self) -> int:
        """How much of what was granted may still come back."""
        return self.granted - self.spent


_NOTHING = DayBook()


class CapBook:
    """Keeps the days of all caps, record by record."""

    def __init__(self) -> None:
        self._caps: dict[str, dict[str, DayBook]] = {}
        self._epochs: dict[int, int] = {}

    def day(self, cap: str, day: str) -> DayBook:
        """Return what is known of the *day* of *cap*."""
        return self._caps.get(cap, {}).get(day, _NOTHING)

    def stakes_of(self, index: int) -> Iterator[tuple[str, str, Stake]]:
        """Yield what partition *index* has: cap, day and stake."""
        for cap, days in self._caps.items():
            for name, day in days.items():
                if (stake := day.stakes.get(index)) is not None:
                    yield cap, name, stake

    def apply(self, offset: int, record: CapRecord) -> None:
        """Take the *record* at *offset*, which comes after all others so far."""
        match record:
            case Takeover(indices=indices):
                self._epochs |= dict.fromkeys(indices, offset)
            case Closed(cap=cap, day=day):
                self._open(cap, day).is_closed = True
            case Claim(index=index, epoch=epoch) if epoch >= self._epochs.get(index, -1):
                self._epochs[index] = epoch
                self._grant(record)
            case Claim():
                pass  # of a former owner, who was frozen

    def _grant(self, claim: Claim) -> None:
        day = self._open(claim.cap, claim.day)
        stake = day.stakes.setdefault(claim.index, Stake())
        if (claim.epoch, claim.seq) <= stake.version:
            return
        others = day.granted - stake.granted
        # A limit that was lowered takes nothing away from anybody.
        granted = min(claim.want, max(stake.granted, claim.limit - others))
        day.granted = others + granted
        day.spent += claim.spent - stake.spent
        day.is_scarce = day.is_scarce or granted < claim.want
        stake.granted, stake.spent, stake.results = granted, claim.spent, claim.results
        stake.version = (claim.epoch, claim.seq)

    def _open(self, cap: str, day: str) -> DayBook:
        days = self._caps.setdefault(cap, {})
        if day not in days:
            days[day] = DayBook()
            for old in sorted(days)[:-DAYS_KEPT]:
                del days[old]
        return days[day]
