"""The load: so much for each pool, by recipients' country and carrier, that none of its senders runs out of work."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, cycle
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from dispatcher.domain.campaign import Campaign
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.fleet import CARRIERS, Carrier, Fleet, PriorityClass, Sender
from dispatcher.domain.job import Job
from dispatcher.publishing.recipients import open_recipients
from dispatcher.simulator.line import carrier_of

# How many characters texts have: seven of one segment, two of two, one of three.
_LENGTHS: Final = (100, 100, 250, 100, 100, 400, 100, 250, 100, 100)
SEGMENTS_A_MESSAGE: Final = 1.4
# Recipients are hashed to senders, so a sender gets more or less than its share: so much more is there, and so many
# segments for each sender besides.
MARGIN: Final = 1.3
SPARE: Final = 20
# More would take longer to publish than to send.
MOST_JOBS: Final = 300_000
# Urgent messages beside it are so large a part of what a pool can send, within bounds (messages a second).
URGENT_SHARE: Final = 0.02
URGENT_BOUNDS: Final = (0.2, 10.0)
# Of the recipients in a file so many are urgent: one in this many.
URGENT_EVERY: Final = 20

# 555 is the exchange that no subscriber has. A line of directory assistance is left out.
_AREAS: Final = (
    *("201", "202", "203", "205", "206", "207", "208", "209", "210", "212", "213", "214", "215", "216", "217", "218"),
    *("219", "224", "225", "228", "229", "231", "234", "239", "240", "248", "251", "252", "253", "254", "256", "260"),
)
_LINES: Final = tuple(line for line in range(1000) if line != 121)  # noqa: PLR2004 - 555-1212 and its neighbours
_DIGITS: Final[Mapping[Carrier | None, str]] = {
    carrier: "".join(digit for digit in "0123456789" if carrier in {None, carrier_of(digit)})
    for carrier in (*CARRIERS, None)
}


@dataclass(frozen=True, slots=True)
class Load:
    """Jobs that wait from the start, and urgent ones of which *urgent_rate* a second come while those are sent."""

    jobs: int
    waiting: Iterator[Job]
    urgent: Iterator[Job]
    urgent_rate: float


@dataclass(frozen=True, slots=True)
class Stream:
    """A kind of message: so many *segments* of it a second keep all *senders* busy that can take it."""

    pool: str
    prefix: str
    carrier: Carrier | None
    segments: float
    senders: int


def invented(name: str, fleet: Fleet, seconds: float, random: Random) -> Load:
    """Return a load of *seconds* with every sender of *fleet* at its rate, to recipients who do not exist."""
    kinds = streams(fleet)
    wanted = [(kind.segments * seconds * MARGIN + SPARE * kind.senders) / SEGMENTS_A_MESSAGE for kind in kinds]
    part = min(1.0, MOST_JOBS / sum(wanted))
    order = [kind for kind, jobs in zip(kinds, wanted, strict=True) for _ in range(int(jobs * part) + 1)]
    # Pools and carriers mixed: a worker sees only so far into the topic.
    random.shuffle(order)
    author = _Author(name, fleet)
    lengths = cycle(_LENGTHS)
    return Load(
        jobs=len(order),
        waiting=(author.write(kind, next(lengths)) for kind in order),
        urgent=(
            author.write(kind, _LENGTHS[0])
            for _ in count()
            for kind in random.choices(kinds, [kind.segments for kind in kinds])
        ),
        urgent_rate=sum(urgent_rate(kinds, pool) for pool in fleet.pools),
    )


def addressed(name: str, fleet: Fleet, file: Path, seconds: float, random: Random) -> Load:
    """Return a load for the recipients in the CSV *file*, in its columns `to` and `carrier`: one message for each."""
    kinds = streams(fleet)
    pools = random.choices([kind.pool for kind in kinds], [kind.segments for kind in kinds], k=len(rows := _read(file)))
    numbers = {pool: place for place, pool in enumerate(fleet.pools)}
    jobs = [
        msgspec.structs.replace(
            job, id=_id(name, row, numbers[pool], job.carrier), campaign=_campaign(name, numbers[pool]), pool=pool
        )
        for row, (job, pool) in enumerate(zip(rows, pools, strict=True))
    ]
    urgent = jobs[::URGENT_EVERY]
    waiting = [job for place, job in enumerate(jobs) if place % URGENT_EVERY]
    return Load(jobs=len(waiting), waiting=iter(waiting), urgent=iter(urgent), urgent_rate=len(urgent) / seconds)


def streams(fleet: Fleet) -> list[Stream]:
    """Return what the pools of *fleet* need a second, so that each of their senders can be at its rate.

    Recipients are hashed over a pool's senders by rate, whatever their carrier. So of each carrier there is as much
    as the 10DLC campaign needs that has most of it; without such campaigns nobody has to know carriers.
    """
    found = []
    for pool in fleet.pools.values():
        senders = [fleet.senders[number] for number in pool.senders]
        for prefix in dict.fromkeys(map(_home, senders)):
            able = [sender for sender in senders if prefix.startswith(sender.prefixes)]
            rate = sum(capacity(fleet, sender) for sender in able)
            found += [
                Stream(pool.name, prefix, carrier, rate * share, len(able))
                for carrier, share in _shares(fleet, able).items()
            ]
    return found


def capacity(fleet: Fleet, sender: Sender) -> float:
    """Return the segments a second of *sender*: for a number of a 10DLC campaign its part of all carriers' rates."""
    if sender.rate is not None:
        return sender.rate.per_second
    numbers = sum(other.a2p_campaign == sender.a2p_campaign for other in fleet.senders.values())
    rates = fleet.a2p_campaigns[sender.a2p_campaign or ""].rates
    return sum(rate.per_second for rate in rates.values()) / numbers


def urgent_rate(kinds: Sequence[Stream], pool: str) -> float:
    """Return how many urgent messages a second go through *pool*, of which there are *kinds*."""
    least, most = URGENT_BOUNDS
    rate = sum(kind.segments for kind in kinds if kind.pool == pool)
    return min(most, max(least, URGENT_SHARE * rate))


def kind_of(job_id: str, fleet: Fleet) -> tuple[str, Carrier | None]:
    """Return the pool and the carrier that the job with this id was for."""
    _, pool, carrier = job_id.rsplit("-", 2)
    return list(fleet.pools)[int(pool)], next((known for known in CARRIERS if known == carrier), None)


def recipients(prefix: str, carrier: Carrier | None) -> Iterator[str]:
    """Yield numbers that nobody has, whom the stand-in counts to *carrier*; they repeat after many thousands.

    In North America those of exchange 555, elsewhere such that begin with zeros.
    """
    while True:
        for area in _AREAS if prefix == "+1" else ("000",):
            for line in _LINES:
                for digit in _DIGITS[carrier]:
                    exchange = "555" if prefix == "+1" else "0"
                    yield f"{prefix}{area}{exchange}{line:03d}{digit}"


class _Author:
    """Writes jobs. Their ids say of what kind they are, since results bear the id alone."""

    def __init__(self, name: str, fleet: Fleet) -> None:
        self._name = name
        self._pools = {pool: place for place, pool in enumerate(fleet.pools)}
        self._rows = count()
        self._recipients: dict[tuple[str, Carrier | None], Iterator[str]] = {}

    def write(self, kind: Stream, length: int) -> Job:
        row, pool = next(self._rows), self._pools[kind.pool]
        whom = kind.prefix, kind.carrier
        if whom not in self._recipients:
            self._recipients[whom] = recipients(*whom)
        return Job(
            id=_id(self._name, row, pool, kind.carrier),
            campaign=_campaign(self._name, pool),
            to=next(self._recipients[whom]),
            pool=kind.pool,
            body=(f"Message {row} of a rehearsal, to somebody who does not exist. " * 9)[:length],
            carrier=kind.carrier,
        )


def _id(name: str, row: int, pool: int, carrier: Carrier | None) -> str:
    return f"{name}-{row}-{pool}-{carrier or 'unknown'}"


def _campaign(name: str, pool: int) -> str:
    return f"{name}-{pool}"


def _home(sender: Sender) -> str:
    """Return the country prefix where recipients of *sender* are looked for."""
    return "+1" if "+1".startswith(sender.prefixes) else sender.prefixes[0]


def _shares(fleet: Fleet, senders: Sequence[Sender]) -> dict[Carrier | None, float]:
    """Return how much of what *senders* can send has to be for each carrier; more than 1 in all where they disagree."""
    shares: dict[Carrier | None, float] = {}
    for name in {sender.a2p_campaign for sender in senders if sender.a2p_campaign}:
        rates = fleet.a2p_campaigns[name].rates
        total = sum(rate.per_second for rate in rates.values())
        for carrier, rate in rates.items():
            shares[carrier] = max(shares.get(carrier, 0.0), rate.per_second / total)
    return shares or {None: 1.0}


def _read(file: Path) -> list[Job]:
    """Return a job for each recipient in *file*, whose pool is still to be chosen; a row that is none is a mistake."""
    campaign = Campaign(
        name="rehearsal",
        file=file,
        recipients=file,
        pool="",
        priority=PriorityClass(name="", topic="", weight=1),
        body="This is a test of our messages; please ignore it.",
    )
    found: dict[str, Job] = {}
    with open_recipients(campaign) as rows:
        for _, job in rows:
            if not isinstance(job, Job):
                raise DispatcherError(f"{file}:{job.line}: {job.reason}")
            found[job.to] = job
    if not found:
        raise DispatcherError(f"{file} names no recipient; write a line for each below the first, which says `to`")
    return list(found.values())
