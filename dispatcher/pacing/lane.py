"""A lane: the messages of one sender (and carrier), the gates they pass, and the one gate they wait at now."""

import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf

from dispatcher.domain.fleet import Sender
from dispatcher.domain.message import Message
from dispatcher.pacing.fair_queue import FairQueue, Flow, place_among_returned
from dispatcher.pacing.gates import ConcurrencyGate, Gate, QueueGate, RateGate, StandbyGate, SuspensionGate

# An answer is late by so many seconds when its request may have come in a bunch, and when it may have arrived in quite
# another second than it left in.
LATE = 0.050
VERY_LATE = 0.5


class Lane:
    """Everything that leaves by one sender and is limited alike.

    Most senders have one lane. A number of a 10DLC campaign has one for each carrier, since each carrier has a limit of
    its own, and one for recipients whose carrier nobody knows, which passes the gates of all of them. *rate* is in
    segments a second, this worker's share of it.

    A message waits in the *queue* until it is chosen; from then on it is *prepared*, and once it may leave, *ready*.
    """

    __slots__ = (
        "_meters",
        "concurrency",
        "gates",
        "name",
        "opened_by_answers",
        "prepared",
        "prepared_cost",
        "queue",
        "queues",
        "rate",
        "rates",
        "ready",
        "sender",
        "shared",
        "standby",
        "suspension",
        "throttles",
        "waiting_at",
    )

    def __init__(
        self,
        *,
        name: str,
        sender: Sender,
        gates: Sequence[Gate],
        standby: StandbyGate,
        rate: float,
        weights: Sequence[int],
        throttles: Mapping[str, Gate],
        hold: Callable[[Gate, Flow, float], None],
    ) -> None:
        self.name = name
        self.sender = sender
        self.gates = tuple(gates)
        self.standby = standby
        # Where it may wait for others to be answered, or to leave; and those of them that open when one is accepted.
        self.shared = (*gates, standby)
        self.opened_by_answers = tuple(gate for gate in self.shared if not isinstance(gate, RateGate | SuspensionGate))
        self.ready: deque[Message] = deque()
        self.prepared = 0
        self.prepared_cost = 0
        self.rate = rate
        self.throttles = throttles
        self.queue = FairQueue(self, weights, throttles, hold)
        self.waiting_at: Gate | None = None
        self.suspension = next(gate for gate in gates if isinstance(gate, SuspensionGate))
        self._meters = tuple(gate for gate in gates if gate is not self.suspension)
        self.concurrency = next(gate for gate in gates if isinstance(gate, ConcurrencyGate))
        self.queues = tuple(gate for gate in gates if isinstance(gate, QueueGate))
        # Those of its sender, which the queues at Twilio drain at.
        self.rates = tuple(gate for gate in gates if isinstance(gate, RateGate) and gate.reason == "sender")

    @property
    def family(self) -> RateGate:
        """The limit of its account's family, which comes after that of the family's messages with media."""
        return next(gate for gate in reversed(self.gates) if isinstance(gate, RateGate) and gate.reason == "family")

    @property
    def waits_for(self) -> str:
        """What its messages wait for, in a word: the gate that it waits at, or their campaigns."""
        return self.waiting_at.reason if self.waiting_at else "campaign"

    def closed_gate(self, now: float) -> tuple[Gate, float] | None:
        """Return the first gate that is closed and when it opens; None when a message may leave."""
        for gate in self.gates:
            if gate.open_from > now and (opens_at := gate.opens_at(now)) > now:
                return gate, opens_at
        return None

    def is_short(self, ahead: float) -> bool:
        """Say whether less is prepared than leaves within *ahead* seconds, and one more message may stand by."""
        if not self.standby.is_free:
            return False
        return not self.prepared or (
            self.prepared_cost < self.rate * ahead and self.prepared < self.standby.most_of_a_lane
        )

    def prepare(self, message: Message, now: float) -> None:
        """*message* was chosen from the queue; its campaign's throttle counts it."""
        self._stand_by(message)
        if self.throttles and (throttle := self.throttles.get(message.job.campaign)) is not None:
            throttle.take(message.cost, now)

    def leave(self) -> Message:
        """Return the message that is to leave next; there has to be one that is ready."""
        message = self.ready.popleft()
        self.withdraw(message)
        return message

    def withdraw(self, message: Message) -> None:
        """*message* was prepared, and is no more: it leaves, or does not leave by this lane."""
        self.prepared -= 1
        self.prepared_cost -= message.cost
        standby = self.standby
        standby.count -= 1
        if not self.prepared:
            standby.lanes -= 1

    def go_again(self, message: Message) -> None:
        """Let *message*, which left for nothing, be the next to leave; what left earlier goes again earlier."""
        place = place_among_returned(self.ready, message)
        self.ready.insert(place, message)
        self._stand_by(message)

    def drain(self) -> Iterator[Message]:
        """Take out everything that is ready or waits, in about the order in which it would have left."""
        while self.ready:
            message = self.leave()
            self.unchoose(message)
            yield message
        yield from self.queue.drain()

    def take(self, message: Message, now: float) -> None:
        """Pass *message* through every gate."""
        cost = message.cost
        for gate in self._meters:
            gate.take(cost, now)

    def give_back(self, message: Message) -> None:
        """*message* passed for nothing: Twilio did not process it."""
        for gate in self._meters:
            gate.give_back(message.cost, message.departed_at)

    def unchoose(self, message: Message) -> None:
        """*message* is going to be chosen anew: its campaign's throttle has counted it for nothing."""
        if (throttle := self.throttles.get(message.job.campaign)) is not None:
            throttle.give_back(message.cost, message.departed_at or inf)

    def accept(self, message: Message, now: float, late_by: float) -> None:
        """Twilio accepted *message*, or nobody knows: it lies in Twilio's queue now, or may lie there.

        The answer came *late_by* seconds too late, so the request may have, too.
        """
        for gate in self.queues:
            gate.model.accept(message.cost, now, is_late=late_by > LATE)
        if late_by > VERY_LATE:
            for rate in self.rates:
                if now - message.departed_at > rate.forgiven:
                    rate.give_back(message.cost, message.departed_at)
                    rate.take(message.cost, now)

    def leaves_in(self, cost: int, now: float) -> float:
        """Return in how many seconds a message of *cost* segments leaves that was prepared last; it may be more."""
        gate = self.waiting_at
        opens_in = max(0.0, gate.due - now) if gate is not None and gate.due < inf else 0.0
        # What else is prepared leaves before it, and of the account what else stands by.
        by_rate = opens_in + (self.prepared_cost - cost) / self.rate
        return max(by_rate, self.concurrency.lets_go_in(self.standby.count))

    def suspended_for(self, now: float) -> float:
        """Return how many seconds it is still suspended."""
        return max(0.0, self.suspension.open_from - now)

    def queued_for(self, cost: int, now: float) -> float:
        """Return for how many seconds, at most, a message of *cost* segments that leaves now lies in Twilio's queue."""
        models = (gate.model for gate in self.queues)
        return max((model.depth(now) + model.unanswered + cost) / model.rate for model in models)

    def wait(self, priority: int) -> float:
        """Return about how many seconds a message of class *priority* would wait here."""
        return self.queue.cost_ahead(priority) / self.rate

    def backlog(self) -> float:
        """Return about how many seconds it takes until everything that waits here has left."""
        return self.queue.cost_ahead(sys.maxsize - 1) / self.rate

    def _stand_by(self, message: Message) -> None:
        standby = self.standby
        if not self.prepared:
            standby.lanes += 1
        standby.count += 1
        self.prepared += 1
        self.prepared_cost += message.cost
