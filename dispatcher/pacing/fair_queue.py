"""Whose turn it is: priority classes by weight, and within a class campaigns by deficit round robin.

Shreedhar and Varghese, "Efficient Fair Queueing using Deficit Round Robin" (1995); here a turn may overdraw, and
what it overdrew is paid back before the next one, so that a quantum can be small.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from dispatcher.domain.message import Message
from dispatcher.pacing.gates import Gate


class Flow:
    """The waiting messages of one campaign in one class, first in first out."""

    __slots__ = ("campaign", "credit", "gate", "messages", "of_class", "queue")

    def __init__(self, campaign: str, queue: "FairQueue", of_class: "_Class", gate: Gate | None) -> None:
        self.campaign = campaign
        self.queue = queue
        self.of_class = of_class
        self.gate = gate
        self.messages: deque[Message] = deque()
        self.credit = 0.0

    def cut(self, most: float) -> tuple[float, list[Message]]:
        """Take out what is behind the first *most* segments; return how many stay, and what was taken."""
        kept = 0.0
        staying = 0
        for message in self.messages:
            if kept + message.cost > most:
                break
            kept += message.cost
            staying += 1
        return kept, [self.messages.pop() for _ in range(len(self.messages) - staying)][::-1]


class _Class:
    """One priority class: its flows, and those of them that may send, in the order of their turns."""

    __slots__ = ("cost", "credit", "flows", "rotation", "weight")

    def __init__(self, weight: int) -> None:
        self.weight = weight
        self.flows: dict[str, Flow] = {}
        self.rotation: deque[Flow] = deque()
        self.credit = 0.0
        self.cost = 0


class FairQueue:
    """Messages that wait for one lane.

    *weights* are those of the priority classes, most important first. *throttles* gives the gate of a campaign that
    has a rate of its own; while that gate is closed the campaign stands aside, and *hold* is told to bring it back.
    """

    __slots__ = ("_classes", "_hold", "_throttles", "count", "lane")

    def __init__(
        self,
        lane: Any,
        weights: Sequence[int],
        throttles: Mapping[str, Gate],
        hold: Callable[[Gate, Flow, float], None],
    ) -> None:
        self.lane = lane
        self.count = 0
        self._classes = tuple(_Class(weight) for weight in weights)
        self._throttles = throttles
        self._hold = hold

    def push(self, message: Message, *, front: bool = False) -> None:
        """Let *message* wait; at the *front* of its campaign when it had its turn already, for nothing.

        That turn is then not counted; and what departed earlier goes again earlier.
        """
        of_class = self._classes[message.priority]
        campaign = message.job.campaign
        flow = of_class.flows.get(campaign)
        if flow is None:
            flow = of_class.flows[campaign] = Flow(campaign, self, of_class, self._throttles.get(campaign))
            of_class.rotation.append(flow)
        if front:
            flow.messages.insert(place_among_returned(flow.messages, message), message)
            flow.credit += message.cost
            of_class.credit += message.cost
        else:
            flow.messages.append(message)
        of_class.cost += message.cost
        self.count += 1

    def pop(self, now: float) -> Message | None:
        """Return the message whose turn it is; None when none waits, or all that wait are held by their campaign."""
        while (of_class := self._next_class()) is not None:
            flow = _next_in_turn(of_class.rotation)
            if flow.gate is not None and flow.gate.opens_at(now) > now:
                of_class.rotation.popleft()
                self._hold(flow.gate, flow, now)
                continue
            message = flow.messages.popleft()
            cost = message.cost
            flow.credit -= cost
            of_class.credit -= cost
            of_class.cost -= cost
            self.count -= 1
            if not flow.messages:
                of_class.rotation.popleft()
                del of_class.flows[flow.campaign]
            return message
        return None

    def release(self, flow: Flow) -> None:
        """Let a held *flow* have turns again, unless it was drained in the meantime."""
        if flow.of_class.flows.get(flow.campaign) is flow:
            flow.of_class.rotation.append(flow)

    def throttle(self, campaign: str, gate: Gate | None) -> None:
        """From now on *campaign* passes through *gate*."""
        for of_class in self._classes:
            if (flow := of_class.flows.get(campaign)) is not None:
                flow.gate = gate

    def weigh(self, weights: Sequence[int]) -> None:
        """From now on the classes have these *weights*."""
        for of_class, weight in zip(self._classes, weights, strict=True):
            of_class.weight = weight

    def waiting_of(self, campaign: str) -> int:
        """Return how many messages of *campaign* wait."""
        return sum(len(of_class.flows[campaign].messages) for of_class in self._classes if campaign in of_class.flows)

    def withdraw(self, campaign: str) -> list[Message]:
        """Take out everything of *campaign*, held or not, in the order it came."""
        withdrawn: list[Message] = []
        for of_class in self._classes:
            if (flow := of_class.flows.get(campaign)) is not None:
                withdrawn += self._cut(of_class, flow, 0.0)[1]
        return withdrawn

    def trim(self, most: float, budgets: dict[Gate, float]) -> list[Message]:
        """Take out what is behind the first *most* segments of its class; the campaigns with least give up least.

        A campaign with a rate of its own keeps no more than *budgets* says of its gate, where what it keeps is then
        taken off. What is held stays.
        """
        taken: list[Message] = []
        for of_class in self._classes:
            if of_class.cost <= most and not budgets:
                continue  # nothing is behind that
            left = most
            flows = [flow for flow in of_class.flows.values() if flow.gate is None or flow.gate in budgets]
            flows.sort(key=lambda flow: len(flow.messages))
            for number, flow in enumerate(flows):
                share = left / (len(flows) - number)
                if flow.gate is None:
                    kept, cut = self._cut(of_class, flow, share)
                else:
                    kept, cut = self._cut(of_class, flow, min(share, budgets[flow.gate]))
                    budgets[flow.gate] -= kept
                left -= kept
                taken += cut
        return taken

    def cost_ahead(self, priority: int) -> int:
        """Return the segments that wait in class *priority* and the more important ones."""
        cost = 0
        for of_class in self._classes[: priority + 1]:
            cost += of_class.cost
        return cost

    def drain(self) -> Iterator[Message]:
        """Take out everything, held or not, campaign by campaign in the order it came."""
        for of_class in self._classes:
            for flow in of_class.flows.values():
                yield from flow.messages
            of_class.flows.clear()
            of_class.rotation.clear()
            of_class.cost = 0
        self.count = 0

    def _cut(self, of_class: _Class, flow: Flow, most: float) -> tuple[float, list[Message]]:
        kept, cut = flow.cut(most)
        of_class.cost -= sum(message.cost for message in cut)
        self.count -= len(cut)
        if not flow.messages:
            del of_class.flows[flow.campaign]
            with suppress(ValueError):  # a held one is not among those that have turns
                of_class.rotation.remove(flow)
        return kept, cut

    def _next_class(self) -> _Class | None:
        alone: _Class | None = None
        for of_class in self._classes:
            if of_class.rotation:
                if alone is not None:
                    return self._next_by_weight()
                alone = of_class
        if alone is not None:
            alone.credit = 0.0  # it owes nothing and is owed nothing
        return alone

    def _next_by_weight(self) -> _Class:
        waiting = [of_class for of_class in self._classes if of_class.rotation]
        while True:
            for of_class in waiting:
                if of_class.credit > 0:
                    return of_class
            for of_class in waiting:
                of_class.credit += of_class.weight


def _next_in_turn(rotation: deque[Flow]) -> Flow:
    """Return the flow at the head once it has credit; who has none gets a quantum of 1 and goes to the end."""
    flow = rotation[0]
    if len(rotation) == 1:
        flow.credit = 0.0
        return flow
    while flow.credit <= 0:
        flow.credit += 1.0
        rotation.rotate(-1)
        flow = rotation[0]
    return flow


def place_among_returned(waiting: deque[Message], message: Message) -> int:
    """Return how many at the front of *waiting* came back like *message* and had departed before it."""
    turn = message.departed_at, message.offset
    place = 0
    for other in waiting:
        if not other.departed_at or (other.departed_at, other.offset) > turn:
            break
        place += 1
    return place
