"""What became of a message at dispatch: the contract with whoever reads the results topic."""

from typing import Literal

import msgspec

from dispatcher.domain.caps import Charge
from dispatcher.domain.fleet import Carrier

Status = Literal["accepted", "refused", "suppressed", "expired", "cancelled", "unknown", "dead"]


class Position(msgspec.Struct, frozen=True, gc=False):
    """Where a job stands in Kafka."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Return what was written as text; `ValueError` where that is none."""
        topic, partition, offset = text.rsplit("/", 2)
        return cls(topic, int(partition), int(offset))


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """A request for a message that was to send it, by *sender*, and what was heard of it *at* that time.

    *code* is Twilio's error code, *reason* a sentence; both are None where Twilio took the message.
    """

    at: str
    sender: str | None
    code: int | None
    reason: str | None


class Result(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One final outcome per job id.

    `unknown`: the POST left, no answer came, and no evidence could be found either way. *code* is Twilio's
    error code, *reason* a sentence for a person, *carrier* the recipient's where the job names it, *at* RFC 3339
    in UTC. *parked* is where the job stood last, if it had to wait for long. *history* is there only where an attempt
    came to nothing and was not the end: it tells of every attempt, the first one first. *charges* are there only where
    caps count the message: what it took of each.
    """

    id: str
    campaign: str
    to: str
    status: Status
    sender: str | None = None
    account: str | None = None
    sid: str | None = None
    segments: int = 0
    code: int | None = None
    reason: str | None = None
    attempts: int = 0
    job: Position
    at: str
    carrier: Carrier | None = None
    parked: Position | None = None
    history: tuple[Attempt, ...] | msgspec.UnsetType = msgspec.UNSET
    charges: tuple[Charge, ...] | msgspec.UnsetType = msgspec.UNSET
