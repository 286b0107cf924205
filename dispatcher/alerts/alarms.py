"""Which alerts are raised: a finding has to last before one is, and calm has to last before it is cleared. Pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from dispatcher.alerts.rules import Finding
from dispatcher.domain.alert import Alert

# Seconds. A figure that is wrong for the moment of one look is none of anybody's business.
RAISE_AFTER: Final = 5.0
CLEAR_AFTER: Final = 60.0

_Key = tuple[str, str]


class Alarms:
    """Remembers what is raised; *raised* is what was when the last process ended."""

    def __init__(self, raised: Iterable[Alert] = ()) -> None:
        self._raised = {(alert.alert, alert.subject): alert for alert in raised}
        self._wrong_since: dict[_Key, float] = {}
        self._calm_since: dict[_Key, float] = {}

    @property
    def raised(self) -> list[Alert]:
        """What is raised now, as it was said."""
        return list(self._raised.values())

    def look(self, findings: Iterable[Finding], now: datetime) -> list[Alert]:
        """Return what is raised and what is cleared by *findings*; what they do not speak of is calm."""
        time = now.timestamp()
        found = {(finding.alert, finding.subject): finding for finding in findings}
        self._wrong_since = {
            key: self._wrong_since.get(key, time) for key, finding in found.items() if finding.is_wrong
        }
        raised = [
            self._raise(key, found[key], now)
            for key, since in self._wrong_since.items()
            if key not in self._raised and time - since >= RAISE_AFTER
        ]
        calm = [key for key in self._raised if (finding := found.get(key)) is None or finding.is_calm]
        self._calm_since = {key: self._calm_since.get(key, time) for key in calm}
        cleared = [
            self._clear(key, found.get(key), now)
            for key, since in list(self._calm_since.items())
            if time - since >= CLEAR_AFTER
        ]
        return raised + cleared

    def _raise(self, key: _Key, finding: Finding, now: datetime) -> Alert:
        at = _written(now)
        self._raised[key] = alert = Alert(
            alert=finding.alert,
            subject=finding.subject,
            state="raised",
            severity=finding.severity,
            why=finding.why,
            value=round(finding.value, 4),
            threshold=round(finding.threshold, 4),
            since=at,
            at=at,
        )
        return alert

    def _clear(self, key: _Key, finding: Finding | None, now: datetime) -> Alert:
        raised = self._raised.pop(key)
        del self._calm_since[key]
        return Alert(
            alert=raised.alert,
            subject=raised.subject,
            state="cleared",
            severity=raised.severity,
            why=f"all is well again for {CLEAR_AFTER:.0f} s; it was: {raised.why}",
            value=round(finding.value, 4) if finding else 0.0,
            threshold=raised.threshold,
            since=raised.since,
            at=_written(now),
        )


def _written(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")
