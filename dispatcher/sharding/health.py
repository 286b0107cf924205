"""Which senders are out for now, why, and until when. A quarantine ends by itself."""

from collections.abc import Callable
from dataclasses import dataclass

from dispatcher.domain.phone import country_prefix

FIRST_QUARANTINE = 30.0
LONGEST_QUARANTINE = 1800.0
# A sender that worked this long after its quarantine starts anew with the shortest.
FORGIVEN_AFTER = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """Why a sender is out, and until when (monotonic seconds)."""

    reason: str
    until: float
    length: float


class Health:
    """Keeps the quarantines of senders, and the countries that accounts may not send to.

    *suspend* is told of each quarantine with the sender's number and its end.
    """

    def __init__(self, suspend: Callable[[str, float], None]) -> None:
        self._suspend = suspend
        self.quarantines: dict[str, Quarantine] = {}
        # Suspended by an order, until when (monotonic seconds).
        self.suspensions: dict[str, float] = {}
        self._closed_countries: set[tuple[str, str]] = set()

    def quarantine(self, number: str, reason: str, now: float) -> Quarantine:
        """Take the sender with *number* out: 30 s at first, twice as long each time it comes to that again."""
        before = self.quarantines.get(number)
        if before is not None and before.until > now:
            return before  # several requests in flight meet the same refusal
        length = FIRST_QUARANTINE
        if before is not None and now - before.until < FORGIVEN_AFTER:
            length = min(LONGEST_QUARANTINE, before.length * 2)
        quarantine = self.quarantines[number] = Quarantine(reason=reason, until=now + length, length=length)
        self._suspend(number, self.out_until(number))
        return quarantine

    def suspend(self, number: str, until: float) -> None:
        """The sender with *number* is to rest until *until*, whatever else is; 0 lifts that."""
        self.suspensions.pop(number, None)
        if until:
            self.suspensions[number] = until
        self._suspend(number, self.out_until(number))

    def out_until(self, number: str) -> float:
        """Return when the sender with *number* comes back; 0 when it never was out."""
        quarantine = self.quarantines.get(number)
        return max(quarantine.until if quarantine is not None else 0.0, self.suspensions.get(number, 0.0))

    def is_out(self, number: str, now: float) -> bool:
        """Say whether the sender with *number* is in quarantine or suspended at *now*."""
        if self.quarantines and (quarantine := self.quarantines.get(number)) is not None and quarantine.until > now:
            return True
        return bool(self.suspensions) and self.suspensions.get(number, 0.0) > now

    def count(self, now: float) -> int:
        """Return how many senders are in quarantine at *now*."""
        return sum(quarantine.until > now for quarantine in self.quarantines.values())

    def close_country(self, account: str, prefix: str) -> None:
        """*account* may not send to numbers that start with *prefix* (Twilio's geo permissions)."""
        self._closed_countries.add((account, prefix))

    def may_reach(self, account: str, to: str) -> bool:
        """Say whether *account* is not known to be barred from the country of the number *to*."""
        return not self._closed_countries or (account, country_prefix(to)) not in self._closed_countries
