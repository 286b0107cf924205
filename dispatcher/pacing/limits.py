"""Every limit of a fleet as a gate. Those of the next fleet are the same gates, changed: what they owe stays."""

from collections.abc import Callable, Mapping
from itertools import product
from random import Random
from typing import TypeVar

from dispatcher.domain.fleet import CARRIERS, Carrier, Fleet, SenderKind
from dispatcher.domain.rate import Rate
from dispatcher.pacing.gates import ConcurrencyGate, Gate, QueueGate, RateGate, StandbyGate
from dispatcher.pacing.turns import Share

# Whose queue at Twilio: a sender's by its number, or that of a 10DLC campaign and a carrier; and whether it is the one
# for messages with media.
Queue = tuple[str, Carrier | None, bool]

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
        # What all senders of a kind have together in a family, of messages with media.
        self.media_families: dict[tuple[str, SenderKind], RateGate] = {}
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
        self.media_families = self._renewed(
            self.media_families,
            fleet.media_family_rates(),
            make=lambda rate: RateGate("family", rate.per_second, whole=True),
            change=lambda gate, rate: gate.limit_to(rate.per_second, now),
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

    def queue_gates(self, whose: str, carrier: Carrier | None, *, has_media: bool) -> tuple[RateGate, QueueGate]:
        """Return the rate and the model of one queue at Twilio."""
        return self.rates[whose, carrier, has_media], self.queues[whose, carrier, has_media]

    def scale(self, whose: str, factor: float, now: float) -> None:
        """Let every queue of *whose* have *factor* of its rate from *now* on."""
        for queue in product((whose,), (None, *CARRIERS), (False, True)):
            if queue in self.rates:
                self.rates[queue].scale(factor, now)
                self.queues[queue].scale(factor, now)

    def share(self, share: Share, now: float) -> None:
        """Run every limit at this *share* of itself from *now* on, with nothing saved up."""
        self._share = share
        for gates in (
            self.concurrency, self.families, self.media_families, self.accounts, self.rates, self.queues
        ):  # fmt: skip
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
    rates: dict[Queue, Rate] = {}
    for sender in fleet.senders.values():
        whose = sender.a2p_campaign or sender.number
        for has_media, by_carrier in ((False, fleet.rates(sender)), (True, fleet.media_rates(sender))):
            rates.update({(whose, carrier, has_media): rate for carrier, rate in by_carrier.items()})
    return rates
