"""Leads lanes through the gates of a fleet, the smallest limit first, and splits the limits among workers."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from math import inf
from random import Random
from typing import NamedTuple

from dispatcher.domain.fleet import CARRIERS, Carrier, Fleet, Sender
from dispatcher.domain.rate import Rate
from dispatcher.pacing.fair_queue import Flow
from dispatcher.pacing.gates import ConcurrencyGate, Gate, HoldGate, QueueGate, RateGate, SuspensionGate
from dispatcher.pacing.lane import Lane
from dispatcher.pacing.limits import Limits
from dispatcher.pacing.turns import Share


class _Way(NamedTuple):
    """The limits on one lane's way, its sender's suspension aside, and what it may send, in segments a second."""

    gates: tuple[Gate, ...]
    rate: float


class Hierarchy:
    """Every limit of a fleet and the lanes that lead through them.

    A lane's gates, in order: the sender's suspension; the rate and the modelled queue of the sender, or of its 10DLC
    campaign with the recipient's carrier; the account's messages a second; its family's; its requests in flight.
    *queue_target* is the depth of a queue at Twilio in seconds of its rate.
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
        self._lanes: dict[str, dict[Carrier | None, Lane]] = {}
        self._factors: dict[str, float] = {}
        self.adopt(fleet, weights=weights, queue_target=queue_target, anew=(), now=0.0)

    def adopt(
        self, fleet: Fleet, *, weights: Sequence[int], queue_target: float, anew: Collection[str], now: float
    ) -> list[Lane]:
        """From *now* on *fleet* is what there is to send with; return the lanes that are no more, suspended for ever.

        A sender keeps its lanes where nothing but limits changed on their way, unless it is to have them *anew*. Of
        the others nothing leaves any more, and what comes back to them is placed elsewhere.
        """
        self._limits.adopt(fleet, queue_target, now)
        campaigns: dict[str, list[str]] = {}
        for number, sender in fleet.senders.items():
            campaigns.setdefault(sender.a2p_campaign or number, []).append(number)
        # The numbers whose 10DLC campaign is the same, of each.
        self._twins = {number: twins for twins in campaigns.values() for number in twins}
        before, self._lanes = self._lanes, {}
        self._nominal: dict[Lane, float] = {}
        for number, sender in fleet.senders.items():
            ways = self._ways(sender, fleet)
            lanes = before.get(number, {})
            if number in anew or {carrier: lane.gates[1:] for carrier, lane in lanes.items()} != {
                carrier: way.gates for carrier, way in ways.items()
            }:
                lanes = self._make_lanes(sender, ways, weights)
            for carrier, lane in lanes.items():
                lane.sender = sender
                lane.queue.weigh(weights)
                self._nominal[lane] = ways[carrier].rate
            self._lanes[number] = lanes
        self._factors = {number: factor for number, factor in self._factors.items() if number in self._lanes}
        for number in self._lanes:
            self._scale_gates(number, now)
        self._set_rates()
        gone = [lane for lanes in before.values() for lane in lanes.values() if lane not in self._nominal]
        for lane in gone:
            lane.suspension.until = inf
        return gone

    def lane(self, sender: Sender, carrier: Carrier | None) -> Lane:
        """Return the lane by which *sender* reaches a recipient of *carrier* (None: unknown)."""
        lanes = self._lanes[sender.number]
        return lanes[carrier if len(lanes) > 1 else None]

    def lanes_of(self, number: str) -> Iterator[Lane]:
        """Yield the lanes of the sender with *number*: none when the fleet has it no more."""
        yield from self._lanes.get(number, {}).values()

    def lanes(self) -> Iterator[Lane]:
        """Yield every lane."""
        for lanes in self._lanes.values():
            yield from lanes.values()

    def gates(self) -> set[Gate]:
        """Return every gate once."""
        return {gate for lane in self.lanes() for gate in lane.gates} | set(self.throttles.values())

    @property
    def concurrency(self) -> dict[str, ConcurrencyGate]:
        """The gate of the requests in flight, of each account."""
        return self._limits.concurrency

    def capacity(self, number: str) -> float:
        """Return what the sender with *number* can send a second by the config: all its lanes, each with a carrier."""
        rates = [self._nominal[lane] for lane in self.lanes_of(number)]
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
        factor = self.factor(number)
        for gate in {gate for lane in self.lanes_of(number) for gate in lane.gates}:
            if isinstance(gate, QueueGate) or (isinstance(gate, RateGate) and gate.reason == "sender"):
                gate.scale(factor, now)

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

    def _ways(self, sender: Sender, fleet: Fleet) -> dict[Carrier | None, _Way]:
        """Return the way of each lane that *sender* has to have, by the recipient's carrier."""
        account = fleet.accounts[sender.account]
        above: list[Gate] = [self._limits.accounts[account.name]] if account.rate is not None else []
        above += [self._limits.families[account.family], self._limits.concurrency[account.name]]
        if sender.a2p_campaign is None:
            if sender.rate is None:
                raise ValueError(f"sender {sender.number} has neither a rate nor a 10DLC campaign")
            return {None: _Way((*self._limits.queue_gates(sender.number), *above), sender.rate.per_second)}
        campaign = fleet.a2p_campaigns[sender.a2p_campaign]
        numbers = len(self._twins[sender.number])
        ways: dict[Carrier | None, _Way] = {}
        every: list[Gate] = []
        for carrier in CARRIERS:
            gates = self._limits.queue_gates(campaign.name, carrier)
            every += gates
            ways[carrier] = _Way((*gates, *above), campaign.rates[carrier].per_second / numbers)
        # Whose carrier is unknown may be with any of them, and so has to fit into the limit of each.
        slowest = min(rate.per_second for rate in campaign.rates.values()) / numbers
        ways[None] = _Way((*every, *above), slowest)
        return ways

    def _make_lanes(
        self, sender: Sender, ways: Mapping[Carrier | None, _Way], weights: Sequence[int]
    ) -> dict[Carrier | None, Lane]:
        suspension = SuspensionGate()
        return {
            carrier: Lane(
                name=sender.number if len(ways) == 1 else f"{sender.number} {carrier or 'unknown'}",
                sender=sender,
                gates=(suspension, *way.gates),
                standby=self._limits.standby[sender.account],
                rate=way.rate,
                weights=weights,
                throttles=self.throttles,
                hold=self._hold,
            )
            for carrier, way in ways.items()
        }
