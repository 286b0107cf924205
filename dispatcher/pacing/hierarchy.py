"""Builds the gates and lanes of a fleet, the smallest limit first, and splits them among workers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random

from dispatcher.domain.fleet import CARRIERS, A2PCampaign, Account, Carrier, Fleet, Sender
from dispatcher.domain.rate import Rate
from dispatcher.pacing.fair_queue import Flow
from dispatcher.pacing.gates import ConcurrencyGate, Gate, HoldGate, QueueGate, RateGate, StandbyGate, SuspensionGate
from dispatcher.pacing.lane import Lane
from dispatcher.pacing.turns import Share


class Hierarchy:
    """Every limit of *fleet* and the lanes that lead through them.

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
        self._weights = weights
        self._queue_target = queue_target
        self._hold = hold
        self._share = Share()
        self.throttles: dict[str, Gate] = {}
        self.concurrency = {
            name: ConcurrencyGate(account.max_concurrency, random) for name, account in fleet.accounts.items()
        }
        self._standby = {name: StandbyGate(gate) for name, gate in self.concurrency.items()}
        self.families = {
            account.family: RateGate("family", fleet.family_rate.per_second, whole=True)
            for account in fleet.accounts.values()
        }
        self._account_rates = {
            name: RateGate("account", account.rate.per_second, burst=account.rate.burst, whole=True)
            for name, account in fleet.accounts.items()
            if account.rate is not None
        }
        self._campaign_gates = {
            name: {carrier: self._queue_gates(campaign.rates[carrier]) for carrier in CARRIERS}
            for name, campaign in fleet.a2p_campaigns.items()
        }
        # The numbers of the same 10DLC campaign, of each that is in one.
        self._twins = {
            number: tuple(twin for twin, other in fleet.senders.items() if other.a2p_campaign == sender.a2p_campaign)
            for number, sender in fleet.senders.items()
            if sender.a2p_campaign is not None
        }
        self._lanes = {
            number: self._lanes_of(sender, fleet.accounts[sender.account], fleet)
            for number, sender in fleet.senders.items()
        }
        self._nominal = {lane: lane.rate for lane in self.lanes()}
        self._factors: dict[str, float] = {}

    def lane(self, sender: Sender, carrier: Carrier | None) -> Lane:
        """Return the lane by which *sender* reaches a recipient of *carrier* (None: unknown)."""
        lanes = self._lanes[sender.number]
        return lanes[carrier if len(lanes) > 1 else None]

    def lanes_of(self, number: str) -> Iterator[Lane]:
        """Yield the lanes of the sender with *number*."""
        yield from self._lanes[number].values()

    def lanes(self) -> Iterator[Lane]:
        """Yield every lane."""
        for lanes in self._lanes.values():
            yield from lanes.values()

    def gates(self) -> set[Gate]:
        """Return every gate once."""
        return {gate for lane in self.lanes() for gate in lane.gates} | set(self.throttles.values())

    def share(self, share: Share, now: float) -> None:
        """Run every limit at this *share* of itself from *now* on, with nothing saved up."""
        self._share = share
        for gate in self.gates():
            gate.share(share, now)
        self._set_rates()

    def scale(self, number: str, factor: float, now: float) -> None:
        """Let the sender with *number* have *factor* of its rate from *now* on.

        The numbers of a 10DLC campaign share its rates and its queues: the lowest factor of any of them holds for all.
        """
        self._factors[number] = factor
        twins = self._twins.get(number, (number,))
        factor = min(self._factors.get(twin, 1.0) for twin in twins)
        for gate in {gate for lane in self.lanes_of(number) for gate in lane.gates}:
            if isinstance(gate, QueueGate) or (isinstance(gate, RateGate) and gate.reason == "sender"):
                gate.scale(factor, now)
        self._set_rates()

    def own_factor(self, number: str) -> float:
        """Return the factor that was set for the sender with *number*."""
        return self._factors.get(number, 1.0)

    def factor(self, number: str) -> float:
        """Return at which factor of its rate the sender with *number* is, its 10DLC campaign's other numbers seen."""
        return min(self._factors.get(twin, 1.0) for twin in self._twins.get(number, (number,)))

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

    def _queue_gates(self, rate: Rate) -> tuple[Gate, Gate]:
        per_second = rate.per_second
        return RateGate("sender", per_second, burst=rate.burst, by_turns=True), QueueGate(
            per_second, self._queue_target
        )

    def _lanes_of(self, sender: Sender, account: Account, fleet: Fleet) -> dict[Carrier | None, Lane]:
        suspension = SuspensionGate()
        if sender.a2p_campaign is None:
            if sender.rate is None:
                raise ValueError(f"sender {sender.number} has neither a rate nor a 10DLC campaign")
            gates = self._queue_gates(sender.rate)
            return {None: self._make_lane(sender.number, sender, account, suspension, gates, sender.rate.per_second)}
        campaign = fleet.a2p_campaigns[sender.a2p_campaign]
        numbers = sum(other.a2p_campaign == campaign.name for other in fleet.senders.values())
        return self._lanes_by_carrier(sender, account, suspension, campaign, numbers)

    def _lanes_by_carrier(
        self, sender: Sender, account: Account, suspension: SuspensionGate, campaign: A2PCampaign, numbers: int
    ) -> dict[Carrier | None, Lane]:
        by_carrier: Mapping[Carrier, tuple[Gate, Gate]] = self._campaign_gates[campaign.name]
        lanes: dict[Carrier | None, Lane] = {}
        for carrier in CARRIERS:
            rate = campaign.rates[carrier].per_second / numbers
            name = f"{sender.number} {carrier}"
            lanes[carrier] = self._make_lane(name, sender, account, suspension, by_carrier[carrier], rate)
        # Whose carrier is unknown may be with any of them, and so has to fit into the limit of each.
        every = tuple(gate for pair in by_carrier.values() for gate in pair)
        slowest = min(rate.per_second for rate in campaign.rates.values()) / numbers
        lanes[None] = self._make_lane(f"{sender.number} unknown", sender, account, suspension, every, slowest)
        return lanes

    def _make_lane(
        self,
        name: str,
        sender: Sender,
        account: Account,
        suspension: SuspensionGate,
        queue_gates: tuple[Gate, ...],
        rate: float,
    ) -> Lane:
        gates: list[Gate] = [suspension, *queue_gates]
        if account.name in self._account_rates:
            gates.append(self._account_rates[account.name])
        gates += [self.families[account.family], self.concurrency[account.name]]
        return Lane(
            name=name,
            sender=sender,
            gates=gates,
            standby=self._standby[account.name],
            rate=rate,
            weights=self._weights,
            throttles=self.throttles,
            hold=self._hold,
        )
