"""Rates as operators write them: `100/s`, `240/min`, `200000/day`, `100/s burst 20`."""

import re
from dataclasses import dataclass
from decimal import Decimal

_PERIODS = {"s": 1.0, "min": 60.0, "h": 3600.0, "day": 86400.0}
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(s|min|h|day)(?:\s+burst\s+(\d+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rate:
    """So many units a period. The unit is the message segment, except where Twilio counts messages.

    *burst* is how many units may leave at once after a pause; None leaves it to the pacing.
    """

    amount: float
    period: str
    burst: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Return the rate that *text* stands for; `ValueError` with what would be right."""
        match = _RATE.fullmatch(text.strip())
        if match is None:
            raise ValueError(
                f'"{text}" is no rate; write an amount and a period, like "100/s", "240/min" or "200000/day"'
            )
        if not float(match[1]):
            raise ValueError(f'the rate "{text}" would never send; write one above zero')
        if match[3] == "0":
            raise ValueError(f'the burst of "{text}" would let nothing through; leave it out or write one above zero')
        return cls(float(match[1]), match[2], int(match[3]) if match[3] else None)

    @property
    def per_second(self) -> float:
        """Units a second."""
        return self.amount / _PERIODS[self.period]

    def __str__(self) -> str:
        # Through Decimal, because a float prints small amounts with an exponent, which is no rate.
        amount = str(int(self.amount)) if self.amount == int(self.amount) else f"{Decimal(repr(self.amount)):f}"
        return f"{amount}/{self.period}" + (f" burst {self.burst}" if self.burst else "")
