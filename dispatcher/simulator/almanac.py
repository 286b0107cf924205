"""Which date it is at a monotonic time: the stand-in stamps with the one and shows the other."""

from datetime import UTC, date, datetime
from email.utils import format_datetime
from zoneinfo import ZoneInfo

# T-Mobile's daily cap starts anew at midnight there.
_PACIFIC = ZoneInfo("America/Los_Angeles")


class Almanac:
    """Knows that it was *wall* at *monotonic* seconds, and counts on from there."""

    __slots__ = ("_offset", "_shown", "_shown_second")

    def __init__(self, *, monotonic: float, wall: datetime) -> None:
        self._offset = wall.timestamp() - monotonic
        self._shown_second = -1
        self._shown = ""

    def wall(self, at: float) -> datetime:
        """Return the wall-clock time (UTC) at *at*."""
        return datetime.fromtimestamp(at + self._offset, UTC)

    def rfc2822(self, at: float) -> str:
        """Return the wall-clock time at *at* as Twilio writes it, to the second."""
        second = int(at + self._offset)
        if second != self._shown_second:
            self._shown_second, self._shown = second, format_datetime(datetime.fromtimestamp(second, UTC))
        return self._shown

    def http_date(self, at: float) -> bytes:
        """Return the wall-clock time at *at* as the header `Date` has it (RFC 9110, section 5.6.7)."""
        return self.rfc2822(at).replace("+0000", "GMT").encode("ascii")

    def pacific_day(self, at: float) -> date:
        """Return the date in US Pacific time at *at*."""
        return self.wall(at).astimezone(_PACIFIC).date()
