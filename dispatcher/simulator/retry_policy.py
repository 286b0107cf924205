"""When Twilio sends a callback again: once after a failed connect, or as the fragment of its URL says.

https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
"""

from functools import lru_cache
from typing import Final, Literal, NamedTuple

from dispatcher.simulator.form import first, number, parse_form

Failure = Literal["ct", "rt", "4xx", "5xx"]

_ALL: Final[tuple[Failure, ...]] = ("ct", "rt", "4xx", "5xx")
_MAX_RETRIES: Final = 5


class RetryPolicy(NamedTuple):
    """How often to try again, and after which failures: connecting, reading, a status."""

    retries: int
    failures: frozenset[Failure]


@lru_cache(maxsize=128)
def read_policy(fragment: str) -> RetryPolicy:
    """Return what *fragment*, like `rc=5&rp=4xx,5xx`, asks for; what it leaves out stays as by default."""
    asked = parse_form(fragment)
    failures = (first(asked, "rp") or "ct").lower().split(",")
    return RetryPolicy(
        retries=min(number(asked, "rc", 1), _MAX_RETRIES),
        failures=frozenset(failure for failure in _ALL if failure in failures or "all" in failures),
    )
