"""What became of a message at dispatch: the contract with whoever reads the results topic."""

from typing import Literal

import msgspec

from dispatcher.domain.fleet import Carrier

Status = Literal["accepted", "refused", "suppressed", "expired", "cancelled", "unknown", "dead"]


class Position(msgspec.Struct, frozen=True, gc=False):
    """Where a job stands in Kafka."""

    topic: str
    partition: int
    offset: int


class Result(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One final outcome per job id.

    `unknown`: the POST left, no answer came, and no evidence could be found either way. *code* is Twilio's
    error code, *reason* a sentence for a person, *carrier* the recipient's where the job names it, *at* RFC 3339
    in UTC. *parked* is where the job stood last, if it had to wait for long.
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
