"""How often a recipient may be texted: in a day, by one campaign, and with how much time between. Pure.

Every text counts, whoever sent it and in whichever pool. A recipient's messages are all of one partition, so the worker
that owns it knows of all of them.
"""

from collections.abc import Iterator
from typing import Final

from dispatcher.domain.frequency import FrequencySettings
from dispatcher.domain.job import Job

DAY: Final = 24 * 3600.0
# Who leaves at the same time as another to the same recipient looks again after so many seconds.
LOOK_AGAIN: Final = 5.0
# So long a message is waited for that left and was not heard of since. Seconds.
PATIENCE: Final = 120.0
_BITS = 32
_LATEST = (1 << _BITS) - 1


class Frequency:
    """Remembers who was texted when, for `memory` seconds at least and twice as long at most."""

    def __init__(self, settings: FrequencySettings) -> None:
        self._settings = settings
        self.memory = max(DAY, settings.remembers, settings.at_least_between or 0.0)
        # The latest texts of each recipient, as many as a day may have: seconds of the epoch, 32 bits each.
        self._kept = (1 << _BITS * max(1, settings.per_day or 1)) - 1
        self._recent: dict[int, int] = {}
        self._older: dict[int, int] = {}
        self._campaigns: dict[int, int] = {}
        self._older_campaigns: dict[int, int] = {}
        self._turns_at = 0.0
        # Who left and has no outcome yet: the job's id and when, by recipient.
        self._leaving: dict[str, tuple[str, float]] = {}

    def __len__(self) -> int:
        return len(self._recent) + len(self._older)

    def refusal(self, job: Job, now: float) -> str | None:
        """Return why *job* must not be sent at *now* (seconds of the epoch), None where nothing is against it."""
        most = self._settings.per_campaign
        if most is not None and self._by_campaign(job.to, job.campaign) >= most:
            times = "once" if most == 1 else f"{most} times"
            return f"the campaign has texted the recipient {times}, which is all it may"
        most = self._settings.per_day
        if most is not None and sum(now - at < DAY for at in self._times(job.to)) >= most:
            times = "once" if most == 1 else f"{most} times"
            return f"the recipient was texted {times} within a day, which is all that may be"
        return None

    def due(self, job: Job, now: float) -> float:
        """Return when *job* may be sent at the earliest, by the epoch; *now* or before: it may at once."""
        if (leaving := self._leaving.get(job.to)) is not None and leaving[0] != job.id and now - leaving[1] < PATIENCE:
            return now + LOOK_AGAIN
        between = self._settings.at_least_between
        latest = next(self._times(job.to), None) if between is not None else None
        return now if latest is None or between is None else latest + between

    def leaves(self, job: Job, now: float) -> None:
        """*job* leaves, or is in doubt: nothing else to its recipient does until it has an outcome."""
        self._leaving[job.to] = (job.id, now)

    def concluded(self, job: Job, at: float, *, is_sent: bool) -> None:
        """*job* has its outcome, and was sent or may have been, or not."""
        if (leaving := self._leaving.get(job.to)) is not None and leaving[0] == job.id:
            del self._leaving[job.to]
        if is_sent:
            self.remember(job.to, job.campaign, at)

    def remember(self, to: str, campaign: str, at: float) -> None:
        """*to* was texted by *campaign* at *at*."""
        if at >= self._turns_at:
            is_stale = at >= self._turns_at + self.memory
            self._older, self._recent = {} if is_stale else self._recent, {}
            self._older_campaigns, self._campaigns = {} if is_stale else self._campaigns, {}
            self._turns_at = at + self.memory
        recipient = int(to)
        known = self._recent.get(recipient) or self._older.get(recipient, 0)
        self._recent[recipient] = (known << _BITS | int(at)) & self._kept
        if self._settings.per_campaign is not None:
            key = hash((recipient, campaign))
            self._campaigns[key] = self._by_campaign(to, campaign) + 1

    def forget(self) -> None:
        """Forget everything: the partitions go to another worker, which reads of it in the results."""
        for known in (self._recent, self._older, self._campaigns, self._older_campaigns, self._leaving):
            known.clear()
        self._turns_at = 0.0

    def _times(self, to: str) -> Iterator[int]:
        """Yield when *to* was texted, the latest first."""
        recipient = int(to)
        times = self._recent.get(recipient) or self._older.get(recipient, 0)
        while times:
            yield times & _LATEST
            times >>= _BITS

    def _by_campaign(self, to: str, campaign: str) -> int:
        key = hash((int(to), campaign))
        return self._campaigns.get(key) or self._older_campaigns.get(key, 0)
