"""Knows the ids of recent jobs, so that an id that is published twice is sent once."""

from collections.abc import Mapping

from dispatcher.domain.outcome import Position
from dispatcher.domain.parking import Whereabouts

# However long the horizon: two generations of so many ids take some 40 MB.
MOST_IN_A_GENERATION = 100_000


class Repeats:
    """Remembers where each id was first seen, for at least *horizon* seconds and at most twice as long.

    Of more than `MOST_IN_A_GENERATION` ids in a horizon the oldest are forgotten earlier.
    """

    def __init__(self, horizon: float) -> None:
        self._horizon = horizon
        # A job that was never parked is where it was first.
        self._recent: dict[str, Position | Whereabouts] = {}
        self._older: dict[str, Position | Whereabouts] = {}
        self._turns_at = 0.0

    def seen_before(self, job_id: str, place: Position, now: float, first: Position | None = None) -> Position | None:
        """Return where *job_id* was seen before, if that was another job than the one at *place*; else remember it.

        *first* is where that job stood before it was parked. *place* is returned itself when it is a needless copy:
        parking a job and settling its record are two steps, and a crash between leaves two records of one job. The one
        that comes second is needless while the other is in hand or has a result.
        """
        if now >= self._turns_at or len(self._recent) >= MOST_IN_A_GENERATION:
            self._older, self._recent = self._recent, {}
            self._turns_at = now + self._horizon
        known = self._recent.get(job_id) or self._older.get(job_id)
        if known is None:
            self._recent[job_id] = place if first is None else Whereabouts(first, place)
            return None
        if first is None and not isinstance(known, Whereabouts):
            # The same record comes again after a rebalance.
            return None if known == place else known
        return self._compare(job_id, known, place, first or place)

    def park(self, job_id: str, first: Position) -> None:
        """The job *job_id* is parked: its next record is its own, and no copy."""
        self._recent[job_id] = Whereabouts(first, None)

    def start_with(self, seen: Mapping[str, Position | Whereabouts], now: float) -> None:
        """Forget all but what the last owners tell, by id."""
        self._recent = dict(seen)
        self._older = {}
        self._turns_at = now + self._horizon

    def _compare(self, job_id: str, known: Position | Whereabouts, place: Position, first: Position) -> Position | None:
        if not isinstance(known, Whereabouts):
            known = Whereabouts(known, known)
        if known.now is None or known.now == place:
            if known.first != first:
                return known.first
            self._recent[job_id] = Whereabouts(first, place)
            return None
        return place if known.first == first else known.first
