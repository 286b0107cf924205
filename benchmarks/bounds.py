"""Says whether figures are within their bounds, and ends a benchmark whose are not."""

import sys
from collections.abc import Mapping
from typing import Any, Final

HOLDS: Final = "holds"
FAILS: Final = "FAILS"


def verdict(*, holds: bool) -> str:
    """Return how a bound is reported."""
    return HOLDS if holds else FAILS


def insist(figures: Mapping[str, Any]) -> None:
    """Exit, naming them, when bounds among *figures* do not hold."""
    failed = [name for name, value in figures.items() if value == FAILS]
    if failed:
        sys.exit(f"out of bounds: {'; '.join(failed)}")
