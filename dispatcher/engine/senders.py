"""What was decided about senders, as it holds for this worker: who rests, and at which factor of its rate one sends."""

from collections.abc import Callable, Collection
from datetime import datetime
from math import inf

import structlog

from dispatcher.clock import Clock
from dispatcher.domain.control import SenderRecord
from dispatcher.domain.message import Message
from dispatcher.domain.sender_health import SenderHealth
from dispatcher.domain.standing import Standing, standing
from dispatcher.engine.placement import Placement
from dispatcher.feedback.control import RateControl
from dispatcher.pacing.hierarchy import Hierarchy
from dispatcher.telemetry import metrics

log = structlog.get_logger()


class Senders:
    """Suspends senders, and sets their rates: the lowest of what orders and what feedback leave of it.

    `look` has to be called about once a second, since orders end by themselves. *stranded* is called with messages that
    nobody can take any more.
    """

    def __init__(
        self,
        hierarchy: Hierarchy,
        placement: Placement,
        clock: Clock,
        *,
        numbers: Collection[str],
        queue_delay: float,
        stranded: Callable[[list[Message]], None],
    ) -> None:
        self._hierarchy = hierarchy
        self._placement = placement
        self._clock = clock
        self._stranded = stranded
        # Of every sender that was spoken of: the config may come to have it.
        self._records: dict[str, SenderRecord] = {}
        self._standings: dict[str, Standing] = {}
        self._controls: dict[str, RateControl] = {}
        self.adopt(numbers, queue_delay)

    def adopt(self, numbers: Collection[str], queue_delay: float) -> None:
        """From now on the config has the senders with *numbers*, at rates that may be others than they were."""
        for number in self._controls.keys() - set(numbers):
            del self._controls[number]
            self._standings.pop(number, None)
            self._placement.suspend(number, 0.0, self._clock.monotonic())
            metrics.RATE_FACTOR.remove(number)
        for number in numbers:
            rate = self._hierarchy.capacity(number)
            if (control := self._controls.get(number)) is not None:
                control.change(rate=rate, target=queue_delay)
            else:
                self._controls[number] = RateControl(rate=rate, target=queue_delay)
            self._apply(number, self._clock.now())

    def obey(self, number: str, record: SenderRecord | None) -> None:
        """From now on *record* holds for the sender with *number*; None: nothing is said about it."""
        self._records[number] = record or SenderRecord()
        if number in self._controls:
            self._apply(number, self._clock.now())

    def hear(self, health: SenderHealth) -> None:
        """Tracking says how a sender's queue at Twilio is: its rate is cut when that is too long, and comes back."""
        if (control := self._controls.get(health.sender)) is not None:
            control.hear(health, self._clock.monotonic())
            self._apply(health.sender, self._clock.now())

    def refused(self, number: str) -> None:
        """Twilio's queue of the sender with *number* is full."""
        if (control := self._controls.get(number)) is not None:
            control.refused(self._clock.monotonic())
            self._apply(number, self._clock.now())

    def look(self) -> None:
        """See which orders are over, or come to their next step, and of whom nothing has been heard for long."""
        now = self._clock.now()
        for number, control in self._controls.items():
            if number in self._records or control.factor < 1:
                control.silent(self._clock.monotonic())
                self._apply(number, now)

    def _apply(self, number: str, now: datetime) -> None:
        record = self._records.get(number, SenderRecord())
        stands = standing(record, now)
        before = self._standings.get(number, Standing())
        if (stands.is_suspended, stands.until) != (before.is_suspended, before.until):
            log.warning(
                "sender suspended" if stands.is_suspended else "sender no longer suspended",
                sender=number,
                order=str(record.suspension or ""),
            )
            self._stranded(self._placement.suspend(number, self._until(stands, now), self._clock.monotonic()))
        self._standings[number] = stands
        fed_back = self._controls[number].factor
        factor = min(stands.factor, fed_back)
        if factor != self._hierarchy.own_factor(number):
            why = "its queue at Twilio" if fed_back < stands.factor else str(record.cut or "its order ends in steps")
            log.info("sender's rate changed", sender=number, factor=round(factor, 3), because=why)
            metrics.RATE_FACTOR.labels(number).set(factor)
            self._hierarchy.scale(number, factor, self._clock.monotonic())

    def _until(self, stands: Standing, now: datetime) -> float:
        if not stands.is_suspended:
            return 0.0
        return inf if stands.until is None else self._clock.monotonic() + (stands.until - now).total_seconds()
