"""How often recipients may be texted, as the config says it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FrequencySettings:
    """At most so many texts to a recipient within 24 hours and from one campaign, and so many seconds between any two.

    None is no limit. A campaign's are remembered for *remembers* seconds, a day at least.
    """

    per_day: int | None = None
    per_campaign: int | None = None
    at_least_between: float | None = None
    remembers: float = 24 * 3600.0

    def __bool__(self) -> bool:
        return not (self.per_day is self.per_campaign is self.at_least_between is None)
