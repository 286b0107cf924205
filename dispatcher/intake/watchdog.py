"""Tells a consumer that stands still from one that has nothing to do, and from a Kafka that does not answer."""

from collections.abc import Hashable, Mapping
from enum import StrEnum

# At that many looks in a row, a minute, nothing may have moved. Longer than the session and a rebalance time out, and
# than aiokafka waits for the answer to a request that was lost: from all of these it recovers by itself.
PATIENCE = 12
LOOK_EVERY = 5.0
# A consumer that stands still so many looks after it replaced another, ten minutes, shows that replacing does not help.
RELAPSE = 120


class Mechanism(StrEnum):
    """What may stand still, as the operator reads it; the first explains those below it."""

    BREAKING = "the consumer of the jobs topics fails, the log says how"
    GROUP = "the consumer hangs in a rebalance of its group"
    TAKEOVER = "the worker does not come to take over the partitions that it was given"
    FETCHING = "jobs wait in Kafka and the consumer does not fetch them"
    COMMITS = "the consumer does not come to commit its offsets"


class Watchdog:
    """Is shown, look by look, what has to move, and says what does not.

    It counts looks and not seconds: a process that was frozen has not looked, and what did not move meanwhile is
    excused.
    """

    def __init__(self) -> None:
        self._still: dict[tuple[Mechanism, Hashable], tuple[object, int]] = {}
        self._looks = 0
        self._replaced_at: int | None = None

    def look(self, moving: Mapping[tuple[Mechanism, Hashable], object]) -> Mechanism | None:
        """Return what has stood still for too long.

        *moving* holds, for each thing that has to move until the next look, how far it has come; nothing while Kafka
        does not answer.
        """
        self._looks += 1
        still = {}
        for thing, reached in moving.items():
            last, looks = self._still.get(thing, (reached, -1))
            still[thing] = (reached, looks + 1 if reached == last else 0)
        self._still = still
        stuck = {mechanism for (mechanism, _), (_, looks) in still.items() if looks >= PATIENCE}
        return next((mechanism for mechanism in Mechanism if mechanism in stuck), None)

    def may_replace(self, stuck: Mechanism, *, has_worked: bool) -> bool:
        """Say whether another consumer may help with what is *stuck*, and start anew with that one.

        It may not when the present one has just replaced another. One that breaks is excused when it *has_worked*:
        Kafka may be restarted twice.
        """
        is_relapse = self._replaced_at is not None and (
            not has_worked if stuck is Mechanism.BREAKING else self._looks - self._replaced_at <= RELAPSE
        )
        self._still.clear()
        self._replaced_at = self._looks
        return not is_relapse
