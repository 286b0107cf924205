"""When recipients may be texted where their numbers are at home, unless the config says otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from dispatcher.domain.hours import Hours


def _hours(table: Mapping[str, str]) -> Mapping[str, Hours]:
    return {place: Hours.parse(text) for place, text in table.items()}


# Not legal advice. The United States: 47 CFR 64.1200(c)(1); the states that are stricter, as of 2026 (see "Sources of
# the hours" in ARCHITECTURE.md). Canada: the CRTC's Unsolicited Telecommunications Rules, part III, 23. Elsewhere: what
# is customary. A state narrows the hours of its country.
DEFAULT_HOURS: Mapping[str, Hours] = _hours(
    {
        "default": "08:00-21:00",
        "US": "08:00-21:00",
        "US-AL": "mon-sat 08:00-20:00",
        "US-CA": "09:00-21:00",
        "US-CT": "09:00-20:00",
        "US-FL": "08:00-20:00",
        "US-IL": "09:00-21:00",
        "US-KY": "10:00-21:00",
        "US-LA": "mon-sat 08:00-20:00",
        "US-MA": "08:00-20:00",
        "US-MD": "08:00-20:00",
        "US-MI": "09:00-21:00",
        "US-MN": "09:00-21:00",
        "US-MS": "mon-sat 08:00-20:00",
        "US-NJ": "08:00-20:00",
        "US-NM": "09:00-21:00",
        "US-NV": "09:00-20:00",
        "US-OK": "08:00-20:00",
        "US-RI": "mon-fri 09:00-18:00, sat 10:00-17:00",
        "US-SD": "mon-sat 09:00-21:00",
        "US-TX": "09:00-21:00, sun 12:00-21:00",
        "US-UT": "mon-sat 08:00-21:00",
        "US-WA": "08:00-20:00",
        "US-WY": "08:00-20:00",
        "CA": "mon-fri 09:00-21:30, sat-sun 10:00-18:00",
        "FR": "mon-sat 08:00-20:00",
        "IN": "10:00-21:00",
        "AU": "mon-fri 09:00-20:00, sat 09:00-17:00",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHoursSettings:
    """When pools that keep quiet hours may text, in the recipient's local time, by place (see `domain.places`).

    `default` is for countries that are not named. On *holidays* nobody of that place is texted. What waited for an
    opening leaves over *spread* seconds.
    """

    hours: Mapping[str, Hours] = field(default_factory=lambda: DEFAULT_HOURS)
    holidays: Mapping[str, frozenset[date]] = field(default_factory=dict)
    spread: float = 900.0
