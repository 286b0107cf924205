"""Every limit of a fleet as a gate. Those of the next fleet are the same gates, changed: what they owe stays."""

from collections.abc import Callable, Mapping
from random import Random
from typing import TypeVar

from dispatcher.domain.fleet import CARRIERS, Carrier, Fleet
from dispatcher.domain.rate import Rate
from dispatcher.pacing.gates import ConcurrencyGate, Gate, QueueGate, RateGate, StandbyGate
from dispatcher.pacing.turns import Share

# Whose queue at Twilio: a sender's by its number, or that of a 10DLC campaign and a carrier.
Queue = tuple[str, Carrier | None]

_K = TypeVar("_K")
_G = TypeVar("_G", bound=Gate)
_L = TypeVar("_L")


class Limits:
    """The gates of accounts, of their families, and of queues at Twilio; made later, they have the same share."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._share: Share | None = None
        self.concurrency: dict[str, ConcurrencyGate] = {}
        self.standby: dict[str, StandbyGate] = {}
        self.families: dict[str, RateGate] = {}
        self.accounts: dict[str, RateGate] = {}
        self.rates: dict[Queue, RateGate] = {}
        self.queues: dict[Queue, QueueGate] = {}

    def adopt(self, fleet: Fleet, queue_target: float, now: float) -> None:
        """From *now* on the limits of *fleet* hold; a gate that is new has nothing saved up."""
        accounts = fleet.accounts.values()
        self.concurrency = self._renewed(
            self.concurrency,
            {account.name: account.max_concurrency for account in accounts},
            make=lambda maximum: ConcurrencyGate(maximum, self._random),
            change=lambda gate, maximum: gate.limit_to(maximum, now),
            now=now,
        )
        self.standby = {
            name: self.standby[name] if name in self.standby else StandbyGate(gate)
            for name, gate in self.concurrency.items()
        }
        self.families = self._renewed(
            self.families,
            {account.family: fleet.family_rate.per_second for account in accounts},
            make=lambda rate: RateGate("family", rate, whole=True),
            change=lambda gate, rate: gate.limit_to(rate, now),
            now=now,
        )
        self.accounts = self._renewed(
            self.accounts,
            {account.name: account.rate for account in accounts if account.rate is not None},
            make=lambda rate: RateGate("account", rate.per_second, burst=rate.burst, whole=True),
            change=lambda gate, rate: gate.limit_to(rate.per_second, now, burst=rate.burst),
            now=now,
        )
        rates = _queue_rates(fleet)
        self.rates = self._renewed(
            self.rates,
            rates,
            make=lambda rate: RateGate("sender", rate.per_second, burst=rate.burst, by_turns=True),
            change=lambda gate, rate: gate.limit_to(rate.per_second, now, burst=rate.burst),
            now=now,
        )
        self.queues = self._renewed(
            self.queues,
            rates,
            make=lambda rate: QueueGate(rate.per_second, queue_target),
            change=lambda gate, rate: gate.limit_to(rate.per_second, queue_target, now),
            now=now,
        )

    def queue_gates(self, whose: str, carrier: Carrier | None = None) -> tuple[Gate, Gate]:
        """Return the rate and the model of one queue at Twilio."""
        return self.rates[whose, carrier], self.queues[whose, carrier]

    def share(self, share: Share, now: float) -> None:
        """Run every limit at this *share* of itself from *now* on, with nothing saved up."""
        self._share = share
        for gates in (self.concurrency, self.families, self.accounts, self.rates, self.queues):
            gate: Gate
            for gate in gates.values():
                gate.share(share, now)

    def _renewed(
        self,
        gates: Mapping[_K, _G],
        limits: Mapping[_K, _L],
        *,
        make: Callable[[_L], _G],
        change: Callable[[_G, _L], None],
        now: float,
    ) -> dict[_K, _G]:
        renewed = {}
        for key, limit in limits.items():
            gate = gates.get(key)
            if gate is not None:
                change(gate, limit)
            else:
                gate = make(limit)
                if self._share is not None:
                    gate.share(self._share, now)
            renewed[key] = gate
        return renewed


def _queue_rates(fleet: Fleet) -> dict[Queue, Rate]:
    rates: dict[Queue, Rate] = {
        (number, None): sender.rate for number, sender in fleet.senders.items() if sender.rate is not None
    }
    for name, campaign in fleet.a2p_campaigns.items():
        rates.update({(name, carrier): campaign.rates[carrier] for carrier in CARRIERS})
    return rates
