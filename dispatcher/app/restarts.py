"""Decides when a worker that has died is started again."""

from collections import deque
from dataclasses import dataclass, field
from random import Random

# Seconds. The wait is drawn between 0 and a ceiling that doubles from the first to the longest (full jitter): workers
# that die of one cause, Kafka's say, do not all come back at the same moment.
FIRST_CEILING = 1.0
LONGEST_CEILING = 30.0
# After so long a life the next death is a first one again.
FORGIVEN_AFTER = 60.0
# So many deaths in a row within the span, each at an age below YOUNG, and more haste would only burn CPU and make the
# group rebalance: everybody pauses for that, so the others would suffer.
POISONED_AT = 5
POISONED_WITHIN = 300.0
YOUNG = 10.0
# Longer than the span, so that it then has as many tries as before.
REST = 600.0
# From the start of a process until it asks the group for partitions.
START_UP = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """Start the worker again *after* so many seconds; *poisoned* says that it rests, and that somebody should look."""

    after: float
    poisoned: bool = False


@dataclass(slots=True)
class Restarts:
    """What is remembered of one worker's deaths.

    *session_timeout* is how long the Kafka group waits for a member that fell silent.
    """

    random: Random
    session_timeout: float
    _doublings: int = 0
    _young_deaths: deque[float] = field(default_factory=deque)

    def died(self, now: float, *, lived: float, left_group: bool) -> Restart:
        """Say when the worker that died at *now*, *lived* seconds old, is started again.

        *left_group* False: it had no time to say goodbye to its Kafka group. A newcomer would make all the others stop
        and wait with it until the group has given the dead one up; until then they better go on.
        """
        if self._is_poisoned(now, lived):
            self._doublings = 0
            return Restart(after=REST, poisoned=True)
        if lived >= FORGIVEN_AFTER:
            self._doublings = 0
        ceiling = min(LONGEST_CEILING, FIRST_CEILING * 2**self._doublings)
        if ceiling < LONGEST_CEILING:
            self._doublings += 1
        earliest = 0.0 if left_group else self.session_timeout - START_UP
        return Restart(after=max(earliest, self.random.uniform(0, ceiling)))

    def _is_poisoned(self, now: float, lived: float) -> bool:
        deaths = self._young_deaths
        if lived >= YOUNG:
            deaths.clear()
            return False
        deaths.append(now)
        while now - deaths[0] > POISONED_WITHIN:
            deaths.popleft()
        return len(deaths) >= POISONED_AT
