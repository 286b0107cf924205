"""How long a campaign takes at the configured rates, and what holds it up."""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
    pool: Pool,
    fleet: Fleet,
    segments: Mapping[Carrier | None, int],
    *,
    messages: int,
    throttle: Rate | None = None,
    has_media: bool = False,
) -> Estimate:
    """Return how long *pool* takes for so many *segments* by carrier (None: unknown) in so many *messages*.

    With media some sender of the pool has to carry them; each message counts as a segment then. Every sender is taken
    to work at its rate to the end; daily caps and quiet hours are left out.
    """
    senders = [fleet.senders[number] for number in pool.senders]
    limits: list[Estimate] = []
    if has_media:
        senders = [sender for sender in senders if fleet.media_rates(sender)]
        limits += _media(fleet, senders, messages)
    limits.append(_senders(pool, fleet, senders, segments, has_media=has_media))
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


def _media(fleet: Fleet, senders: list[Sender], messages: int) -> Iterator[Estimate]:
    """Yield what the families let their senders of a kind send of media, where no other kind can help out."""
    shared = fleet.media_family_rates()
    keys = {(fleet.accounts[sender.account].family, sender.kind) for sender in senders}
    if keys <= shared.keys():
        seconds = messages / sum(shared[key].per_second for key in keys)
        kinds = _listed(sorted({kind for _, kind in keys}))
        yield Estimate(seconds, f"the messages with media of all {kinds} senders of an account and its subaccounts")


def _senders(
    pool: Pool, fleet: Fleet, senders: list[Sender], segments: Mapping[Carrier | None, int], *, has_media: bool
) -> Estimate:
    """Return the time that the senders' rates alone ask for.

    Short codes, toll-free numbers and the like reach every carrier at one rate together. A 10DLC campaign has a rate
    for each carrier, whatever the count of its numbers; a message to an unknown carrier takes room at all of them.
    """
    rates_of = fleet.media_rates if has_media else fleet.rates
    rates = {sender.a2p_campaign or sender.number: rates_of(sender) for sender in senders}.values()
    shared = sum(by_carrier[None].per_second for by_carrier in rates if None in by_carrier)
    apart = {
        carrier: sum(by_carrier[carrier].per_second for by_carrier in rates if carrier in by_carrier)
        for carrier in CARRIERS
    }
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
