"""What was decided about campaigns, as it holds for the messages in hand: who waits, who is slow, who never goes."""

from collections import deque
from collections.abc import Iterable

from dispatcher.domain.control import CampaignRecord
from dispatcher.domain.message import Message
from dispatcher.domain.rate import Rate
from dispatcher.outcomes.results import Outcomes
from dispatcher.pacing.hierarchy import Hierarchy
from dispatcher.pacing.lane import Lane
from dispatcher.pacing.pacer import Pacer

# Cancelled messages that get their results at once: a millisecond of work, so that no beat is missed.
AT_ONCE = 200
_NOTHING_SAID = CampaignRecord()


class Campaigns:
    """Holds, slows down and cancels campaigns.

    A held campaign stands aside in every lane, at a gate that opens when it is told to run. What was announced already
    and has not left finds it in *stopped* at the moment of its departure, and so does what is sent again.
    """

    def __init__(self, hierarchy: Hierarchy, pacer: Pacer, outcomes: Outcomes) -> None:
        self._hierarchy = hierarchy
        self._pacer = pacer
        self._outcomes = outcomes
        self._records: dict[str, CampaignRecord] = {}
        # Of whom no message leaves now: those that are held, and those that are cancelled.
        self.stopped: dict[str, CampaignRecord] = {}
        self._cancelled: deque[Message] = deque()

    def obey(self, name: str, record: CampaignRecord | None, now: float) -> None:
        """From now on *record* holds for the campaign *name*; None: nothing is said about it. A cancel is for good."""
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
        if record.state == "cancelled":
            for lane in self._hierarchy.lanes():
                self.cancel_all(lane.queue.withdraw(name))
        if (record.rate, record.is_held, record.state == "cancelled") != (before.rate, before.is_held, False):
            self._change_gate(name, record, now)

    def is_cancelled(self, name: str) -> bool:
        """Say whether the campaign *name* is cancelled."""
        record = self.stopped.get(name)
        return record is not None and record.state == "cancelled"

    def cancel(self, message: Message) -> bool:
        """Conclude *message* if its campaign is cancelled; say whether it is."""
        if not self.is_cancelled(message.job.campaign):
            return False
        order = self.stopped[message.job.campaign].order
        reason = f"the campaign was cancelled {order}" if order else "the campaign was cancelled"
        self._outcomes.conclude(message, "cancelled", reason=reason)
        return True

    @property
    def has_more(self) -> bool:
        """Whether cancelled messages wait for their results."""
        return bool(self._cancelled)

    def conclude_some(self) -> None:
        """Give some of the cancelled messages their results."""
        for _ in range(min(AT_ONCE, len(self._cancelled))):
            self.cancel(self._cancelled.popleft())

    def cancel_all(self, messages: Iterable[Message]) -> None:
        """Give *messages*, which are of cancelled campaigns, their results soon."""
        self._cancelled += messages

    def forget(self) -> None:
        """Drop the messages that wait for their results: their partitions go to another worker, which cancels them."""
        self._cancelled.clear()

    def held_in(self, lane: Lane) -> int:
        """Return how many messages wait in *lane* because their campaign is held."""
        return sum(lane.queue.waiting_of(name) for name, record in self.stopped.items() if record.is_held)

    def _change_gate(self, name: str, record: CampaignRecord, now: float) -> None:
        if record.is_held:
            former = self._hierarchy.hold_campaign(name)
        else:
            is_slowed = record.rate is not None and record.state != "cancelled"
            rate = Rate.parse(record.rate) if is_slowed and record.rate is not None else None
            former = self._hierarchy.throttle(name, rate, now)
        if former is not None:
            self._pacer.dissolve(former)
