"""Hours of the week as operators write them: `08:00-21:00`, `mon-fri 09:00-18:00, sat 10:00-17:00`."""

import re
from dataclasses import dataclass

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = "|".join(_DAYS)
_PART = re.compile(rf"(?:({_DAY})(?:\s*-\s*({_DAY}))?\s+)?(\d\d):(\d\d)\s*-\s*(\d\d):(\d\d)", re.ASCII)
_DAY_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True)
class Hours:
    """For each weekday from Monday on, from which minute up to which it is open; None for a day that is closed."""

    days: tuple[tuple[int, int] | None, ...]

    @classmethod
    def parse(cls, text: str) -> "Hours":
        """Return the hours that *text* stands for; `ValueError` with what would be right.

        Hours without a day are those of every day that is not named; days of which nothing is said are closed.
        """
        every: tuple[int, int] | None = None
        named: dict[int, tuple[int, int]] = {}
        for part in text.lower().split(","):
            match = _PART.fullmatch(part.strip())
            if match is None:
                raise ValueError(
                    f'"{text}" are no hours; write "08:00-21:00" or "mon-sat 09:00-20:00, sun 12:00-18:00"'
                )
            first, last, *clock = match.groups()
            opens, closes = (int(hour) * 60 + int(minute) for hour, minute in (clock[:2], clock[2:]))
            if any(int(minute) > 59 for minute in clock[1::2]) or closes > _DAY_MINUTES:  # noqa: PLR2004 - minutes
                raise ValueError(f'"{part.strip()}" names a time that no clock shows; a day ends at 24:00')
            if opens >= closes:
                raise ValueError(f'"{part.strip()}" ends before it begins; hours lie within one day')
            if first is None:
                every = (opens, closes)
            else:
                begin, end = _DAYS.index(first), _DAYS.index(last or first)
                named |= {(begin + offset) % 7: (opens, closes) for offset in range((end - begin) % 7 + 1)}
        return cls(tuple(named.get(day, every) for day in range(7)))

    def within(self, other: "Hours") -> "Hours":
        """Return the hours in which both are open."""
        days: list[tuple[int, int] | None] = []
        for one, two in zip(self.days, other.days, strict=True):
            both = None if one is None or two is None else (max(one[0], two[0]), min(one[1], two[1]))
            days.append(None if both is None or both[0] >= both[1] else both)
        return Hours(tuple(days))

    def __str__(self) -> str:
        parts: list[str] = []
        day = 0
        while day < len(_DAYS):
            span, last = self.days[day], day
            while last + 1 < len(_DAYS) and self.days[last + 1] == span:
                last += 1
            if span is not None:
                named = (
                    "" if last - day + 1 == len(_DAYS) else _DAYS[day] + (f"-{_DAYS[last]}" if last > day else "") + " "
                )
                parts.append(f"{named}{_clock(span[0])}-{_clock(span[1])}")
            day = last + 1
        return ", ".join(parts)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
