"""What was measured in a rehearsal: who reached what the config says, and what the others were bound by.

Rates are segments a second unless it says messages.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from dispatcher.domain.rate import Rate

# Senders are driven at 99 % of their rate, and the last message of the time may be on its way.
REACHED: Final = 0.97
# A process that uses so much of a core can no more, nor can a machine that uses so much of all of them, or where timers
# are so late (seconds; a sender makes up for less).
BUSY: Final = 0.9
FULL: Final = 0.95
LATE: Final = 0.02
# At fewer looks than this share a flow without work does not tell why it fell short.
OFTEN: Final = 0.05
# Where messages wait for a worker that has not come to them yet, or for Kafka.
_OF_THE_WORKER: Final = frozenset({"worker", "journal", "sender"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What drains at a rate of its own: a sender, or a 10DLC campaign with a carrier.

    *segments* in so many *messages*, of up to *largest*, were accepted; *places* says at how many looks its messages
    waited where; *deepest* is its modelled queue at Twilio, in seconds of its rate.
    """

    name: str
    account: str
    pools: tuple[str, ...]
    configured: float
    segments: int = 0
    messages: int = 0
    largest: int = 1
    places: Mapping[str, int] = field(default_factory=dict)
    deepest: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What an account may do and did. *rate* is in messages; *typical* and *slowest* answers (p50, p99) in seconds."""

    name: str
    family: str
    rate: Rate | None
    max_concurrency: int
    at_once: int = 0
    accepted: int = 0
    throttled: int = 0
    in_doubt: int = 0
    typical: float | None = None
    slowest: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured in so many *seconds*.

    Of cores, *cpu* is what the worker used of one, *stand_in_cpu* Twilio's stand-in, where there is one, and *machine*
    all of this machine of all of them. *late* is how late the worker's timers are, *journal* the p99 of an intent,
    *urgent* the p50 and p99 of an urgent message from its append to its request: all in seconds. *lag* is what waited
    in Kafka unread, *errors* Twilio's codes, *foreign* what the stand-in took of somebody else.
    *pools* are segments by pool; *slowed* what the stand-in drains slower than configured, by how much.
    """

    against: str
    seconds: float
    flows: Sequence[Flow]
    accounts: Mapping[str, Account]
    pools: Mapping[str, int]
    family_rate: Rate
    queue_target: float
    partitions: int
    cpu: float = 0.0
    stand_in_cpu: float = 0.0
    machine: float = 0.0
    late: float = 0.0
    lag: int = 0
    journal: float | None = None
    urgent: tuple[float, float] | None = None
    urgent_messages: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    slowed: Mapping[str, float] = field(default_factory=dict)
    foreign: int = 0

    @property
    def segments(self) -> int:
        """What all flows together sent."""
        return sum(flow.segments for flow in self.flows)

    @property
    def messages(self) -> int:
        """How many messages that was."""
        return sum(flow.messages for flow in self.flows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was measured; sentences for the promises that did not hold; whether overruns would have been seen."""

    measured: Measured
    troubles: tuple[str, ...]
    is_judged: bool


def keeps_up(flow: Flow, seconds: float) -> bool:
    """Say whether *flow* reached its configured rate; whether a message more fits into the time is chance."""
    return flow.segments + flow.largest >= REACHED * flow.configured * seconds


def binding(flow: Flow, measured: Measured) -> str:
    """Say what *flow* is bound by: `sender` when it is at its own rate, else what it waited for most beside that."""
    if keeps_up(flow, measured.seconds):
        return "sender"
    if not flow.pools:
        return "no pool"
    place = _waited_most(flow)
    # Who takes too long with answers has more and more requests without one.
    is_unanswered = place in {"concurrency", "queue"} and not measured.accounts[flow.account].throttled
    if (is_unanswered or place in _OF_THE_WORKER) and (busy := _who_is_busy(measured)):
        return busy
    return "kafka" if place == "journal" or (place == "idle" and measured.lag) else place


def _who_is_busy(measured: Measured) -> str:
    """Return whose processor time ran out, of those that answer for how fast a worker is; none has an empty name."""
    if measured.cpu >= BUSY:
        return "worker"
    if measured.stand_in_cpu >= BUSY:
        return "stand-in"
    return "machine" if measured.machine >= FULL or measured.late > LATE else ""


def _waited_most(flow: Flow) -> str:
    """Return where messages of *flow* waited most beside its own rate; `sender` when nowhere else."""
    looks = sum(flow.places.values())
    others = Counter({place: found for place, found in flow.places.items() if place != "sender"})
    if others["idle"] < OFTEN * looks:
        del others["idle"]
    return others.most_common(1)[0][0] if others else "sender"
