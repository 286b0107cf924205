"""A message on its way: a job, where it came from, and what has become of it so far."""

from collections.abc import Sequence
from math import inf
from typing import Any, Protocol

from dispatcher.domain.caps import Charge
from dispatcher.domain.fleet import Sender
from dispatcher.domain.job import Job
from dispatcher.domain.outcome import Attempt, Position


class JournalPage(Protocol):
    """A record of the journal: *open* counts the jobs for which a new owner would need it."""

    open: int


class Origin(Protocol):
    """The partition a job was read from, which wants to know when it is settled.

    *is_owned* is False once the partition has gone to another worker, whose business the job is then.
    """

    topic: str
    partition: int
    is_owned: bool

    def announce(self, offset: int, page: JournalPage) -> None:
        """The journal's *page* says that the job at *offset* is about to be sent."""

    def settle(self, offset: int) -> None:
        """The job at *offset* needs nothing more."""

    def is_settled(self, offset: int) -> bool:
        """Say whether the job at *offset* needs nothing more."""


class Record(Protocol):
    """A record as Kafka brings it; *timestamp* is when it was appended, in milliseconds of the epoch."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: Sequence[tuple[str, bytes]]


class Message:
    """One job in our hands. *priority* is the index of its class.

    *cost* is in segments, or 1 for a message with media. *appended_at* is the time of its record in Kafka (seconds of
    the epoch), *departed_at* that of its last request (monotonic). *tried* are the numbers of senders that could not
    take it. *lane* is where it waits, or from where it left. *is_announced*: the journal says that it is about to be
    sent. *not_after* is until when it may lie in Twilio's queue, in seconds of the epoch. *first* is where the
    job stood before it was parked. *history* are the attempts that came to nothing, the first one first. *charged* is
    what it takes of caps.
    """

    __slots__ = (
        "appended_at",
        "attempts",
        "charged",
        "cost",
        "departed_at",
        "first",
        "history",
        "is_announced",
        "job",
        "lane",
        "not_after",
        "offset",
        "origin",
        "priority",
        "sender",
        "tried",
    )

    def __init__(
        self,
        *,
        job: Job,
        origin: Origin,
        offset: int,
        priority: int,
        cost: int,
        appended_at: float,
        attempts: int = 0,
        first: Position | None = None,
        history: tuple[Attempt, ...] = (),
        tried: tuple[str, ...] = (),
    ) -> None:
        self.job = job
        self.origin = origin
        self.offset = offset
        self.priority = priority
        self.cost = cost
        self.appended_at = appended_at
        self.sender: Sender | None = None
        self.lane: Any = None
        self.attempts = attempts
        self.tried = tried
        self.departed_at = 0.0
        self.is_announced = False
        self.not_after = inf
        self.first = first
        self.history = history
        self.charged: tuple[Charge, ...] = ()
