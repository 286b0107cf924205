"""Whether this worker may still send: a lease that each commit renews."""

from dataclasses import dataclass
from math import inf


@dataclass(slots=True)
class Fence:
    """Open while the last successful commit began less than *lease* seconds ago.

    Kafka gives a silent worker's partitions away after the session time-out, and the worker is not told. So it stops
    by itself, earlier than that: whoever was frozen, or cut off, finds the fence closed before the next write.
    """

    lease: float
    _renewed_at: float = -inf

    def renew(self, began_at: float) -> None:
        """A commit that began at *began_at* (monotonic seconds) succeeded: we were a member then."""
        self._renewed_at = max(self._renewed_at, began_at)

    def close(self) -> None:
        """Nothing may leave until the next commit."""
        self._renewed_at = -inf

    def is_open(self, now: float) -> bool:
        """Say whether a request may be written at *now*."""
        return now - self._renewed_at < self.lease
