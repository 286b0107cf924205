"""What an order about a sender comes to at a time: how an order ends by itself, in steps. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dispatcher.domain.control import SenderRecord

# When an order is over, the rate comes back by this factor, at once and then every so many seconds.
STEP: Final = 1.5
STEP_EVERY: Final = 10.0
# What a sender begins with when its suspension is over, as a factor of its rate.
AFTER_SUSPENSION: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Whether a sender *is_suspended*, until when (None: until it is taken back), and at which *factor* of its rate."""

    is_suspended: bool = False
    until: datetime | None = None
    factor: float = 1.0


def standing(record: SenderRecord, now: datetime) -> Standing:
    """Return what *record* comes to at *now*."""
    factor = 1.0
    if record.cut is not None:
        factor = min(factor, _recovered(record.cut.factor, record.cut.until, now))
    if (suspension := record.suspension) is None:
        return Standing(factor=factor)
    if suspension.until is None or now < suspension.until:
        return Standing(is_suspended=True, until=suspension.until, factor=factor)
    return Standing(factor=min(factor, _recovered(AFTER_SUSPENSION, suspension.until, now)))


def _recovered(factor: float, until: datetime | None, now: datetime) -> float:
    if until is None or now < until:
        return factor
    steps = 1 + (now - until).total_seconds() // STEP_EVERY
    return float(min(1.0, factor * STEP**steps))
