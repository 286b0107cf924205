"""How long a campaign takes at the configured rates, and what holds it up."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dispatcher.domain.fleet import CARRIERS, Carrier, Fleet, Pool, Sender
from dispatcher.domain.rate import Rate

_HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Estimate:
    """The least *seconds* it takes while nothing else is sent, and the limit that makes it so."""

    seconds: float
    bottleneck: str


def estimate(
    pool: Pool, fleet: Fleet, segments: Mapping[Carrier | None, int], *, messages: int, throttle: Rate | None = None
) -> Estimate:
    """Return how long *pool* takes for so many *segments* by carrier (None: unknown) in so many *messages*.

    Every sender is taken to work at its rate to the end; daily caps and quiet hours are left out.
    """
    senders = [fleet.senders[number] for number in pool.senders]
    limits = [_senders(pool, fleet, senders, segments)]
    if throttle is not None:
        limits.append(Estimate(sum(segments.values()) / throttle.per_second, f"the campaign's own rate, {throttle}"))
    families = {fleet.accounts[sender.account].family for sender in senders}
    limits.append(
        Estimate(
            messages / (fleet.family_rate.per_second * len(families)),
            f"the {fleet.family_rate} messages of an account and its subaccounts",
        )
    )
    rates = {name: fleet.accounts[name].rate for name in {sender.account for sender in senders}}
    capped = [rate.per_second for rate in rates.values() if rate is not None]
    if len(capped) == len(rates):
        limits.append(Estimate(messages / sum(capped), f"the messages a second of {_listed(sorted(rates))}"))
    return max(limits, key=lambda limit: limit.seconds)


def _senders(pool: Pool, fleet: Fleet, senders: list[Sender], segments: Mapping[Carrier | None, int]) -> Estimate:
    """Return the time that the senders' rates alone ask for.

    Short codes, toll-free numbers and the like reach every carrier at one rate together. A 10DLC campaign has a rate
    for each carrier, whatever the count of its numbers; a message to an unknown carrier takes room at all of them.
    """
    shared = sum(sender.rate.per_second for sender in senders if sender.rate is not None)
    campaigns = [fleet.a2p_campaigns[name] for name in {sender.a2p_campaign for sender in senders} if name]
    apart = {carrier: sum(campaign.rates[carrier].per_second for campaign in campaigns) for carrier in CARRIERS}
    known = {carrier: segments.get(carrier, 0) for carrier in CARRIERS}
    unknown = segments.get(None, 0)

    def left(seconds: float) -> float:
        """Return the segments that the 10DLC campaigns leave to the others in so many *seconds*."""
        room = {carrier: apart[carrier] * seconds - known[carrier] for carrier in CARRIERS}
        everywhere = min(unknown, max(0.0, min(room.values())))
        return unknown - everywhere + sum(max(0.0, everywhere - room[carrier]) for carrier in CARRIERS)

    seconds = _least(lambda seconds: left(seconds) <= shared * seconds)
    # The carriers whose messages fill all that is theirs and what is shared; the others are done earlier.
    slow = [carrier for carrier in CARRIERS if known[carrier] and known[carrier] > apart[carrier] * seconds * 0.999]
    whose = f" to {_listed(slow)}" if slow and len(slow) < sum(map(bool, known.values())) else ""
    return Estimate(seconds, f'the senders of the pool "{pool.name}"{whose}')


def _least(enough: Callable[[float], bool]) -> float:
    """Return the least of the seconds that are *enough*; all that are more are, too."""
    low, high = 0.0, 1.0
    while not enough(high):
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
