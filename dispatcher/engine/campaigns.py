"""What was decided about campaigns, as it holds for the messages in hand: who waits, who is slow, who never goes."""

from collections import deque
from collections.abc import Callable, Iterable
from math import inf

from dispatcher.clock import Clock
from dispatcher.domain.control import CampaignRecord
from dispatcher.domain.message import Message
from dispatcher.domain.rate import Rate
from dispatcher.engine.later import Later
from dispatcher.outcomes.results import Outcomes
from dispatcher.pacing.hierarchy import Hierarchy
from dispatcher.pacing.lane import Lane
from dispatcher.pacing.pacer import Pacer

# Messages that get their results, or are parked, at once: a few milliseconds of work, so that no beat is missed.
AT_ONCE = 200
# A campaign that has been held for so many seconds gives up its room in memory: it is parked.
PATIENCE = 10.0
_NOTHING_SAID = CampaignRecord()


class Campaigns:
    """Holds, slows down and cancels campaigns.

    A held campaign stands aside in every lane, at a gate that opens when it is told to run; soon it is parked by
    *later*. What was announced already and has not left finds it in *stopped* at the moment of its departure, and so
    does what is sent again. What was about to be parked when its campaign was let go is handed to *go_on*.
    """

    def __init__(
        self,
        hierarchy: Hierarchy,
        pacer: Pacer,
        later: Later,
        outcomes: Outcomes,
        clock: Clock,
        go_on: Callable[[Message], None],
    ) -> None:
        self._hierarchy = hierarchy
        self._pacer = pacer
        self._later = later
        self._outcomes = outcomes
        self._clock = clock
        self._go_on = go_on
        self._records: dict[str, CampaignRecord] = {}
        # Of whom no message leaves now: those that are held, and those that are cancelled.
        self.stopped: dict[str, CampaignRecord] = {}
        # Until when those that are held wait in memory; 0.0: they are parked.
        self._patient_until: dict[str, float] = {}
        self._leaving: deque[Message] = deque()
        # When `work` is needed, in monotonic time.
        self.due = inf

    def obey(self, name: str, record: CampaignRecord | None) -> None:
        """From now on *record* holds for the campaign *name*; None: nothing is said about it. A cancel is for good."""
        now = self._clock.monotonic()
        before = self._records.get(name, _NOTHING_SAID)
        record = record or _NOTHING_SAID
        if before.state == "cancelled":
            return
        if record == _NOTHING_SAID:
            self._records.pop(name, None)
        else:
            self._records[name] = record
        self.stopped.pop(name, None)
        if record.is_held or record.state == "cancelled":
            self.stopped[name] = record
        if record.is_held:
            self._patient_until.setdefault(name, now + PATIENCE)
        else:
            self._patient_until.pop(name, None)
        if record.state == "cancelled":
            self._withdraw(name)
        if (record.rate, record.is_held, record.state == "cancelled") != (before.rate, before.is_held, False):
            self._change_gate(name, record, now)
        self._plan()

    def is_cancelled(self, name: str) -> bool:
        """Say whether the campaign *name* is cancelled."""
        record = self.stopped.get(name)
        return record is not None and record.state == "cancelled"

    def is_parked(self, name: str) -> bool:
        """Say whether the campaign *name* has been held for so long that it is parked."""
        return self._patient_until.get(name) == 0.0

    def stop(self, message: Message) -> bool:
        """Conclude *message* if its campaign is cancelled, park it if that has been held for long; say whether."""
        name = message.job.campaign
        record = self.stopped.get(name)
        if record is None:
            return False
        if record.state == "cancelled":
            reason = f"the campaign was cancelled {record.order}" if record.order else "the campaign was cancelled"
            self._outcomes.conclude(message, "cancelled", reason=reason)
        elif self._patient_until[name]:
            return False
        else:
            self._later.hold(message)
        return True

    def work(self) -> None:
        """Park what has been held for long, give what is cancelled its results: some of it at a time."""
        now = self._clock.monotonic()
        for name, until in self._patient_until.items():
            if until and until <= now:
                self._patient_until[name] = 0.0
                self._withdraw(name)
        for _ in range(min(AT_ONCE, len(self._leaving))):
            message = self._leaving.popleft()
            if not self.stop(message):
                self._go_on(message)
        self._plan()

    def withdraw_all(self, messages: Iterable[Message]) -> None:
        """Give *messages*, which are of cancelled campaigns, their results soon."""
        self._leaving += messages
        self._plan()

    def forget(self) -> None:
        """Drop the messages that were about to go: their partitions go to another worker, which stops them."""
        self._leaving.clear()
        self._plan()

    def held_in(self, lane: Lane) -> int:
        """Return how many messages wait in *lane* because their campaign is held."""
        return sum(lane.queue.waiting_of(name) for name, record in self.stopped.items() if record.is_held)

    def _withdraw(self, name: str) -> None:
        for lane in self._hierarchy.lanes():
            self._leaving += lane.queue.withdraw(name)

    def _plan(self) -> None:
        self.due = 0.0 if self._leaving else min(filter(None, self._patient_until.values()), default=inf)

    def _change_gate(self, name: str, record: CampaignRecord, now: float) -> None:
        if record.is_held:
            former = self._hierarchy.hold_campaign(name)
        else:
            is_slowed = record.rate is not None and record.state != "cancelled"
            rate = Rate.parse(record.rate) if is_slowed and record.rate is not None else None
            former = self._hierarchy.throttle(name, rate, now)
        if former is not None:
            self._pacer.dissolve(former)
