"""Durations as operators write them: `20s`, `5min`, `250ms`, `2h`, `1d`."""

import re

_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)", re.ASCII)


def parse_duration(text: str) -> float:
    """Return the seconds that *text* stands for; `ValueError` with what would be right."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'"{text}" is no duration; write a number and a unit, like "20s", "250ms" or "5min"')
    return float(match[1]) * _UNITS[match[2]]


def format_duration(seconds: float) -> str:
    """Return *seconds* as a person reads it: `850 ms`, `42 s`, `3 min 20 s`, `14 h 5 min`, `2 d 3 h`."""
    if (milliseconds := round(seconds * 1000)) < 1000:  # noqa: PLR2004 - that is a second
        return f"{milliseconds} ms"
    whole = round(seconds)
    for size, unit, smaller_size, smaller in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {unit} {rest} {smaller}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"
