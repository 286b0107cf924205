"""What waits until it is due: for seconds in memory, for longer in a topic, which outlives us and takes no memory."""

from collections.abc import Callable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf

from dispatcher.clock import Clock
from dispatcher.domain.fleet import PriorityClass
from dispatcher.domain.message import Message
from dispatcher.domain.outcome import Position
from dispatcher.domain.parking import HELD, tier_for
from dispatcher.engine.repeats import Repeats
from dispatcher.outcomes.results import Outcomes

# What is due together is taken out so much at a time: a few milliseconds of work, so that no beat is missed.
AT_ONCE = 200


class Later:
    """Keeps messages until they are due, in seconds of the epoch, or parks them by *outcomes*.

    *give_back* is called with those that are parked though they were charged to caps, for a sender that was lost since.
    """

    def __init__(
        self,
        priorities: Sequence[PriorityClass],
        repeats: Repeats,
        outcomes: Outcomes,
        clock: Clock,
        give_back: Callable[[Message], None],
    ) -> None:
        self._give_back = give_back
        self._priorities = priorities
        self._repeats = repeats
        self._outcomes = outcomes
        self._clock = clock
        self._waiting: list[tuple[float, int, Message]] = []
        self._order = count()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def wait(self, message: Message, due: float, *, is_booked: bool = False) -> None:
        """Let *message* wait until it is *due*; *is_booked*: because its turn is thought to be then."""
        tier = tier_for(due - self._clock.epoch())
        if tier is None:
            heappush(self._waiting, (due, next(self._order), message))
        else:
            self._park(message, tier, due, is_booked=is_booked)

    def book(self, message: Message, due: float) -> None:
        """Park *message* until shortly before its turn, or until it expires."""
        expires_at = message.job.expires_at
        self.wait(message, due if expires_at is None else min(due, expires_at.timestamp()), is_booked=True)

    def hold(self, message: Message) -> None:
        """Park *message* until somebody has said that its campaign may go on."""
        self._park(message, HELD, self._clock.epoch())

    def _park(self, message: Message, tier: str, due: float, *, is_booked: bool = False) -> None:
        if message.charged:
            self._give_back(message)
        origin = message.origin
        first = message.first or Position(origin.topic, origin.partition, message.offset)
        self._repeats.park(message.job.id, first)
        self._outcomes.park(message, tier, due, self._priorities[message.priority].name, is_booked=is_booked)

    def due(self) -> Iterator[Message]:
        """Take out what is due now, or the first of it."""
        now = self._clock.epoch()
        for _ in range(AT_ONCE):
            if not self._waiting or self._waiting[0][0] > now:
                return
            yield heappop(self._waiting)[2]

    def next_due(self) -> float:
        """Return the monotonic time at which the first is due; inf where none waits."""
        if not self._waiting:
            return inf
        return self._clock.monotonic() + (self._waiting[0][0] - self._clock.epoch())

    def withdraw(self, campaign: str) -> list[Message]:
        """Take out what is of *campaign*."""
        taken = [one[2] for one in self._waiting if one[2].job.campaign == campaign]
        if taken:
            self._waiting = [one for one in self._waiting if one[2].job.campaign != campaign]
            heapify(self._waiting)
        return taken

    def clear(self) -> None:
        """Forget what waits here: its partitions go to another worker, or will be read again."""
        self._waiting.clear()
