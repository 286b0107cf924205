"""What day caps add to the life of a job: it is charged before it is announced, and waits where nothing is left."""

from collections import Counter
from datetime import datetime
from typing import Any

from typing_extensions import override

from dispatcher.compliance.gate import ComplianceGate
from dispatcher.compliance.objections import Postponed
from dispatcher.domain.caps import CapRules
from dispatcher.domain.control import CampaignRecord
from dispatcher.domain.journal import Intent
from dispatcher.domain.message import Message
from dispatcher.domain.settings import Settings
from dispatcher.engine.caps import Caps, Leave
from dispatcher.engine.pipeline import Pipeline
from dispatcher.pacing.lane import Lane


class CappedPipeline(Pipeline):
    """A pipeline whose config has caps: *caps* are asked before a message is announced, and say who has to wait.

    Who waits for more to be claimed stands by in its lane. Who finds nothing left goes by another sender, or onto the
    shelf of *caps*, in no lane. All *others* are a `Pipeline`'s.
    """

    def __init__(self, *, caps: Caps, **others: Any) -> None:
        super().__init__(rests=caps.rests, give_back=caps.give_back, **others)
        self._caps = caps
        caps.tell(granted=self._granted, short=self._come_short)

    # ------------------------------------------------------------------ in

    @override
    def _inherit(self, message: Message, intent: Intent, now: datetime) -> None:
        super()._inherit(message, intent, now)
        self._caps.inherit(message)

    @override
    def obey(self, campaign: str, record: CampaignRecord | None) -> None:
        super().obey(campaign, record)
        if self.campaigns.is_cancelled(campaign):
            self.campaigns.withdraw_all(self._caps.shelf.withdraw(campaign))

    @override
    def adopt(self, settings: Settings, compliance: ComplianceGate) -> None:
        super().adopt(settings, compliance)
        rules = CapRules(settings.fleet)
        if rules.allow_more_than(self._caps.rules):
            self.room.recall()  # who was put off until tomorrow may go today
        for message in self._caps.adopt(rules):
            self._place(message)

    @override
    def forget(self) -> None:
        for message in self._caps.forget():
            self._pacer.withdraw(message.lane, message)
        super().forget()

    @override
    def _waiting(self) -> dict[str, int]:
        waiting = super()._waiting()
        asked = self._caps.asked()
        asked_of = Counter(message.lane.name for message in asked)
        for lane in self.hierarchy.lanes():
            waiting[lane.waits_for] -= asked_of[lane.name]
        waiting["cap"] = len(self._caps.shelf) + len(asked)
        return waiting

    # ------------------------------------------------------------------ when

    @override
    def next_due(self) -> float:
        # While nothing may leave, nobody on the shelf can be helped either.
        if self._caps.shelf.is_stirred and not self._halted and self._fence.is_open(self._clock.monotonic()):
            return 0.0
        return super().next_due()

    @override
    def _take_up(self, now: float) -> None:
        super()._take_up(now)
        if self._caps.shelf.is_stirred:
            again, put_off = self._caps.serve()
            for message in again:
                self._place(message)
            for message, until, reason in put_off:
                self._put_off(message, Postponed(until, reason), is_booked=True)

    @override
    def _admit(self, message: Message, now: float) -> bool:
        if message.charged and message.origin.is_owned and not self._caps.is_charged_for(message, message.lane.sender):
            self._returns.choose_anew(message, message.lane)  # the day that it was charged for is over
            return False
        return super()._admit(message, now)

    # ------------------------------------------------------------------ out

    @override
    def _announce(self, message: Message, lane: Lane) -> None:
        """*message* is about to leave, once it is charged to what caps it."""
        match self._caps.reserve(message, lane.sender):
            case Leave.GRANTED:
                super()._announce(message, lane)
            case Leave.SHORT:
                self._come_short(message)
            case Leave.ASKED:
                pass

    def _granted(self, message: Message) -> None:
        """*message* waited for more to be claimed, and is charged now."""
        super()._announce(message, message.lane)

    def _come_short(self, message: Message) -> None:
        """*message* was chosen to leave, and a cap has no room for it: another sender may, or it waits."""
        lane: Lane = message.lane
        self._pacer.withdraw(lane, message)
        if message.is_announced:
            self._returns.take_back(message, lane)
        else:
            lane.unchoose(message)
        now = self._clock.monotonic()
        sender = self.placement.router.choose(message, now)
        if sender is None or self._caps.rests(sender, message):
            self._caps.put_on_shelf(message, lane.sender)
        else:
            self.placement.place(message, now, front=True)
