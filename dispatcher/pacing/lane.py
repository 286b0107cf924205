"""A lane: the messages of one sender (and carrier), the gates they pass, and the one gate they wait at now."""

import sys
from collections.abc import Callable, Mapping, Sequence

from dispatcher.domain.fleet import Sender
from dispatcher.domain.message import Message
from dispatcher.pacing.fair_queue import FairQueue, Flow
from dispatcher.pacing.gates import ConcurrencyGate, Gate, QueueGate, SuspensionGate


class Lane:
    """Everything that leaves by one sender and is limited alike.

    Most senders have one lane. A number of a 10DLC campaign has one for each carrier, since each carrier has a limit of
    its own, and one for recipients whose carrier nobody knows, which passes the gates of all of them. *rate* is in
    segments a second, this worker's share of it.
    """

    __slots__ = ("concurrency", "gates", "name", "queue", "queues", "rate", "sender", "suspension", "throttles",
                 "waiting_at")  # fmt: skip

    def __init__(
        self,
        *,
        name: str,
        sender: Sender,
        gates: Sequence[Gate],
        rate: float,
        weights: Sequence[int],
        throttles: Mapping[str, Gate],
        hold: Callable[[Gate, Flow, float], None],
    ) -> None:
        self.name = name
        self.sender = sender
        self.gates = tuple(gates)
        self.rate = rate
        self.throttles = throttles
        self.queue = FairQueue(self, weights, throttles, hold)
        self.waiting_at: Gate | None = None
        self.suspension = next(gate for gate in gates if isinstance(gate, SuspensionGate))
        self.concurrency = next(gate for gate in gates if isinstance(gate, ConcurrencyGate))
        self.queues = tuple(gate for gate in gates if isinstance(gate, QueueGate))

    def closed_gate(self, now: float) -> tuple[Gate, float] | None:
        """Return the first gate that is closed and when it opens; None when a message may leave."""
        for gate in self.gates:
            opens_at = gate.opens_at(now)
            if opens_at > now:
                return gate, opens_at
        return None

    def take(self, message: Message, now: float) -> None:
        """Pass *message* through every gate."""
        cost = message.cost
        for gate in self.gates:
            gate.take(cost, now)
        if self.throttles and (throttle := self.throttles.get(message.job.campaign)) is not None:
            throttle.take(cost, now)

    def give_back(self, message: Message) -> None:
        """*message* passed for nothing: Twilio did not process it."""
        cost, taken_at = message.cost, message.departed_at
        for gate in self.gates:
            gate.give_back(cost, taken_at)
        if (throttle := self.throttles.get(message.job.campaign)) is not None:
            throttle.give_back(cost, taken_at)

    def accept(self, message: Message, now: float) -> None:
        """Twilio accepted *message*, or nobody knows: it lies in Twilio's queue now, or may lie there."""
        for gate in self.queues:
            gate.model.accept(message.cost, now)

    def suspended_for(self, now: float) -> float:
        """Return how many seconds it is still suspended."""
        return max(0.0, self.suspension.until - now)

    def wait(self, priority: int) -> float:
        """Return about how many seconds a message of class *priority* would wait here."""
        return self.queue.cost_ahead(priority) / self.rate

    def backlog(self) -> float:
        """Return about how many seconds it takes until everything that waits here has left."""
        return self.queue.cost_ahead(sys.maxsize - 1) / self.rate
