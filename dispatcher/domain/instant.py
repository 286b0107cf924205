"""Moments as people write them: `2026-11-24T18:00:00Z`, always with an offset."""

from datetime import UTC, datetime


def parse_instant(text: str) -> datetime:
    """Return the moment that *text* stands for, in UTC; `ValueError` with what would be right."""
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f'"{text}" is no time with an offset; write one like "2026-11-24T18:00:00Z"')
