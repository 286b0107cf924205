"""Leads lanes through the gates of a fleet, the smallest limit first, and splits the limits among workers."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from math import inf
from random import Random
from typing import NamedTuple

from dispatcher.domain.fleet import Carrier, Fleet, Sender
from dispatcher.domain.rate import Rate
from dispatcher.pacing.fair_queue import Flow
from dispatcher.pacing.gates import ConcurrencyGate, Gate, HoldGate, RateGate, SuspensionGate
from dispatcher.pacing.lane import Lane
from dispatcher.pacing.limits import Limits
from dispatcher.pacing.turns import Share


class _Way(NamedTuple):
    """The limits on one lane's way, its sender's suspension aside, and what it may send, in segments a second."""

    gates: tuple[Gate, ...]
    rate: float


# The lanes of one sender by the recipient's carrier; None alone where carriers don't matter.
_Lanes = dict[Carrier | None, Lane]


class Hierarchy:
    """Every limit of a fleet and the lanes that lead through them.

    A lane's gates, in order: the sender's suspension; the rate and the modelled queue of the sender, or of its 10DLC
    campaign with the recipient's carrier; the account's messages a second; its family's; its requests in flight.
    Messages with media have lanes of their own, since they have rates and queues of their own, and share what Twilio
    lets all senders of a kind in a family send of them. *queue_target* is the depth of a queue at Twilio in seconds of
    its rate.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        weights: Sequence[int],
        queue_target: float,
        random: Random,
        hold: Callable[[Gate, Flow, float], None],
    ) -> None:
        self._hold = hold
        self._share = Share()
        self._limits = Limits(random)
        self.throttles: dict[str, Gate] = {}
        self._lanes: dict[str, _Lanes] = {}
        self._media_lanes: dict[str, _Lanes] = {}
        self._factors: dict[str, float] = {}
        self.adopt(fleet, weights=weights, queue_target=queue_target, anew=(), now=0.0)

    def adopt(
        self, fleet: Fleet, *, weights: Sequence[int], queue_target: float, anew: Collection[str], now: float
    ) -> list[Lane]:
        """From *now* on *fleet* is what there is to send with; return the lanes that are no more, suspended for ever.

        A sender keeps its lanes where nothing but limits changed on their way, unless it is to have them *anew*. Of
        the others nothing leaves any more, and what comes back to them is placed elsewhere.
        """
        self._fleet = fleet
        self._weights = weights
        self._limits.adopt(fleet, queue_target, now)
        campaigns: dict[str, list[str]] = {}
        for number, sender in fleet.senders.items():
            campaigns.setdefault(sender.a2p_campaign or number, []).append(number)
        # The numbers whose 10DLC campaign is the same, of each.
        self._twins = {number: twins for twins in campaigns.values() for number in twins}
        before = list(self.lanes())
        texts, self._lanes = self._lanes, {}
        media, self._media_lanes = self._media_lanes, {}
        self._nominal: dict[Lane, float] = {}
        for number, sender in fleet.senders.items():
            kept = {} if number in anew else texts.get(number, {})
            self._lanes[number] = self._lanes_of(sender, kept, has_media=False)
            if number in media and fleet.media_rates(sender):
                kept = {} if number in anew else media[number]
                self._media_lanes[number] = self._lanes_of(sender, kept, has_media=True)
        self._factors = {number: factor for number, factor in self._factors.items() if number in self._lanes}
        for number in self._lanes:
            self._scale_gates(number, now)
        self._set_rates()
        gone = [lane for lane in before if lane not in self._nominal]
        for lane in gone:
            lane.suspension.open_from = inf
        return gone

    def lane(self, sender: Sender, carrier: Carrier | None) -> Lane:
        """Return the lane by which *sender* reaches a recipient of *carrier* (None: unknown)."""
        lanes = self._lanes[sender.number]
        return lanes[carrier if len(lanes) > 1 else None]

    def media_lane(self, sender: Sender, carrier: Carrier | None) -> Lane:
        """Return the same for messages with media; *sender* has to carry them.

        Most senders never see one, and a lane takes memory: these are opened with the first.
        """
        lanes = self._media_lanes.get(sender.number)
        if lanes is None:
            lanes = self._media_lanes[sender.number] = self._lanes_of(sender, {}, has_media=True)
            for lane in lanes.values():
                lane.suspension.open_from = self.lane(sender, carrier).suspension.open_from
            self._set_rates()
        return lanes[carrier if len(lanes) > 1 else None]

    def lanes_of(self, number: str) -> Iterator[Lane]:
        """Yield the lanes of the sender with *number*: none when the fleet has it no more."""
        yield from self._lanes.get(number, {}).values()
        yield from self._media_lanes.get(number, {}).values()

    def lanes(self) -> Iterator[Lane]:
        """Yield every lane."""
        for number in self._lanes:
            yield from self.lanes_of(number)

    def gates(self) -> set[Gate]:
        """Return every gate once."""
        return {gate for lane in self.lanes() for gate in lane.gates} | set(self.throttles.values())

    @property
    def concurrency(self) -> dict[str, ConcurrencyGate]:
        """The gate of the requests in flight, of each account."""
        return self._limits.concurrency

    def capacity(self, number: str) -> float:
        """Return the segments that the sender with *number* can send a second by the config: to all carriers."""
        rates = [self._nominal[lane] for lane in self._lanes.get(number, {}).values()]
        return sum(rates[: max(1, len(rates) - 1)])

    def share(self, share: Share, now: float) -> None:
        """Run every limit at this *share* of itself from *now* on, with nothing saved up."""
        self._share = share
        self._limits.share(share, now)
        for throttle in self.throttles.values():
            throttle.share(share, now)
        self._set_rates()

    def scale(self, number: str, factor: float, now: float) -> None:
        """Let the sender with *number* have *factor* of its rate from *now* on.

        The numbers of a 10DLC campaign share its rates and its queues: the lowest factor of any of them holds for all.
        """
        self._factors[number] = factor
        self._scale_gates(number, now)
        self._set_rates()

    def own_factor(self, number: str) -> float:
        """Return the factor that was set for the sender with *number*."""
        return self._factors.get(number, 1.0)

    def factor(self, number: str) -> float:
        """Return at which factor of its rate the sender with *number* is, its 10DLC campaign's other numbers seen."""
        return min(self._factors.get(twin, 1.0) for twin in self._twins[number]) if self._factors else 1.0

    def _scale_gates(self, number: str, now: float) -> None:
        sender = self._fleet.senders[number]
        self._limits.scale(sender.a2p_campaign or number, self.factor(number), now)

    def _set_rates(self) -> None:
        for lane, rate in self._nominal.items():
            lane.rate = rate * self._share.part * self.factor(lane.sender.number)

    def throttle(self, campaign: str, rate: Rate | None, now: float) -> Gate | None:
        """Hold *campaign* to *rate* over all its senders, None lifts it; return the gate that held it until now."""
        gate = None
        if rate is not None:
            gate = RateGate("campaign", rate.per_second, burst=rate.burst)
            gate.share(self._share, now)
        return self._pass_through(campaign, gate)

    def hold_campaign(self, campaign: str) -> Gate | None:
        """Let nothing of *campaign* leave until it is throttled or not; return the gate that held it until now."""
        return self._pass_through(campaign, HoldGate())

    def _pass_through(self, campaign: str, gate: Gate | None) -> Gate | None:
        """Have *campaign* pass *gate*, None for no gate of its own; return the gate it passed until now."""
        former = self.throttles.pop(campaign, None)
        if gate is not None:
            self.throttles[campaign] = gate
        for lane in self.lanes():
            lane.queue.throttle(campaign, gate)
        return former

    def _lanes_of(self, sender: Sender, kept: _Lanes, *, has_media: bool) -> _Lanes:
        """Return the lanes of *sender* for texts, or for media: those *kept* where their ways are the same."""
        ways = self._ways(sender, has_media=has_media)
        lanes = kept
        if {carrier: lane.gates[1:] for carrier, lane in kept.items()} != {
            carrier: way.gates for carrier, way in ways.items()
        }:
            lanes = self._make_lanes(sender, f"{sender.number} mms" if has_media else sender.number, ways)
        for carrier, lane in lanes.items():
            lane.sender = sender
            lane.queue.weigh(self._weights)
            self._nominal[lane] = ways[carrier].rate
        return lanes

    def _ways(self, sender: Sender, *, has_media: bool) -> dict[Carrier | None, _Way]:
        """Return the way of each lane that *sender* has to have, by the recipient's carrier."""
        rates = self._fleet.media_rates(sender) if has_media else self._fleet.rates(sender)
        if not rates:
            raise ValueError(f"sender {sender.number} has neither a rate nor a 10DLC campaign")
        whose = sender.a2p_campaign or sender.number
        own = {carrier: self._limits.queue_gates(whose, carrier, has_media=has_media) for carrier in rates}
        account, limits = self._fleet.accounts[sender.account], self._limits
        above: list[Gate] = [limits.accounts[account.name]] if account.rate is not None else []
        above += [limits.families[account.family], limits.concurrency[account.name]]
        first: list[Gate] = []
        # Before its own, though it is no smaller: where both are the same, who has just sent would come back in time to
        # send again, past those in line.
        if has_media and (gate := limits.media_families.get((account.family, sender.kind))) is not None:
            first.append(gate)
        numbers = len(self._twins[sender.number])
        ways: dict[Carrier | None, _Way] = {
            carrier: _Way((*first, *own[carrier], *above), rate.per_second / numbers) for carrier, rate in rates.items()
        }
        if None not in rates:
            # Whose carrier is unknown may be with any of them, and so has to fit into the limit of each.
            slowest = min(rate.per_second for rate in rates.values()) / numbers
            ways[None] = _Way((*first, *(gate for pair in own.values() for gate in pair), *above), slowest)
        return ways

    def _make_lanes(self, sender: Sender, name: str, ways: Mapping[Carrier | None, _Way]) -> _Lanes:
        suspension = SuspensionGate()
        return {
            carrier: Lane(
                name=name if len(ways) == 1 else f"{name} {carrier or 'unknown'}",
                sender=sender,
                gates=(suspension, *way.gates),
                standby=self._limits.standby[sender.account],
                rate=way.rate,
                weights=self._weights,
                throttles=self.throttles,
                hold=self._hold,
            )
            for carrier, way in ways.items()
        }
