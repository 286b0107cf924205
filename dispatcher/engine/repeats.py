"""Knows the ids of recent jobs, so that an id that is published twice is sent once."""

from collections.abc import Mapping

from dispatcher.domain.outcome import Position

# However long the horizon: two generations of so many ids take some 40 MB.
MOST_IN_A_GENERATION = 100_000


class Repeats:
    """Remembers where each id was first seen, for at least *horizon* seconds and at most twice as long.

    Of more than `MOST_IN_A_GENERATION` ids in a horizon the oldest are forgotten earlier.
    """

    def __init__(self, horizon: float) -> None:
        self._horizon = horizon
        self._recent: dict[str, Position] = {}
        self._older: dict[str, Position] = {}
        self._turns_at = 0.0

    def seen_before(self, job_id: str, place: Position, now: float) -> Position | None:
        """Return where *job_id* was seen before, if anywhere else than at *place*; else remember it."""
        if now >= self._turns_at or len(self._recent) >= MOST_IN_A_GENERATION:
            self._older, self._recent = self._recent, {}
            self._turns_at = now + self._horizon
        known = self._recent.get(job_id) or self._older.get(job_id)
        if known is None:
            self._recent[job_id] = place
            return None
        # The same record comes again after a rebalance.
        return None if known == place else known

    def start_with(self, seen: Mapping[str, Position], now: float) -> None:
        """Forget all but what the results of the last owners tell, by id."""
        self._recent = dict(seen)
        self._older = {}
        self._turns_at = now + self._horizon
