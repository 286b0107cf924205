"""How many messages came how far: what rules, alerts and people look at."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import msgspec


class Scope(NamedTuple):
    """Whose messages are counted: those of a campaign, of a sender (by its number), or all; *name* is empty for all."""

    kind: Literal["campaign", "sender", "all"]
    name: str


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages came to each pass within a span of time; each message counts once for each.

    *accepted*: Twilio took them. *left*: they left Twilio's queue, by whatever news came first. *delivered*, *failed*
    (Twilio's `failed`, `undelivered` and `canceled`) and *refused* (they never came to Twilio, for whatever reason) are
    how they ended. *codes* counts the failed and the refused by Twilio's error code; some have none.
    """

    accepted: int = 0
    left: int = 0
    delivered: int = 0
    failed: int = 0
    refused: int = 0
    codes: Mapping[int, int] = msgspec.field(default_factory=dict)

    @property
    def concluded(self) -> int:
        """How many ended: what a share is of."""
        return self.delivered + self.failed + self.refused

    @property
    def failed_share(self) -> float:
        """The share of those which ended that failed or were refused; 0 where none ended."""
        return (self.failed + self.refused) / self.concluded if self.concluded else 0.0

    def share(self, code: int) -> float:
        """Return the share of those which ended that ended with *code*; 0 where none ended."""
        return self.codes.get(code, 0) / self.concluded if self.concluded else 0.0


NOTHING: Final = Counts()
