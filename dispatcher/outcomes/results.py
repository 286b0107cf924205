"""Concludes jobs: one result each, or a dead letter for what is no job."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache

import msgspec
import structlog
from msgspec.structs import replace
from typing_extensions import override

from dispatcher.clock import Clock
from dispatcher.domain.message import Message, Origin
from dispatcher.domain.outcome import Attempt, Position, Result, Status
from dispatcher.domain.parking import Parked, write_headers
from dispatcher.domain.topics import Topics
from dispatcher.outcomes.dead_letters import dead_letter
from dispatcher.outcomes.publisher import Publisher, Record
from dispatcher.telemetry import metrics

log = structlog.get_logger()

_encode = msgspec.json.Encoder().encode
# How a time ends, looked up: to format a number takes longer than the rest of it.
_MILLISECONDS = [f".{millisecond:03}+00:00" for millisecond in range(1000)]
# Finding a metric's child costs more than counting in it.
_results = cache(metrics.RESULTS.labels)


class Outcomes:
    """Hands results and dead letters to *publisher*; a job is settled when Kafka has its outcome."""

    def __init__(self, publisher: Publisher, topics: Topics, clock: Clock) -> None:
        self._publisher = publisher
        self._topics = topics
        self._clock = clock
        self._second = -1
        self._shown = ""

    def conclude(
        self,
        message: Message,
        status: Status,
        *,
        sid: str | None = None,
        segments: int = 0,
        code: int | None = None,
        reason: str | None = None,
    ) -> None:
        """Give *message* its one result, unless its partition has gone to another worker, which will."""
        job, origin = message.job, message.origin
        if not origin.is_owned:
            return
        attempts, first = message.attempts, message.first
        sender = message.sender if attempts else None
        place = Position(origin.topic, origin.partition, message.offset)
        # With more than fifteen keywords Python makes a dict for the call, which then takes five times as long.
        result = Result(
            id=job.id,
            campaign=job.campaign,
            to=job.to,
            status=status,
            sender=sender.number if sender else None,
            account=sender.account if sender else None,
            sid=sid,
            segments=segments,
            code=code,
            reason=reason,
            attempts=attempts,
            job=first or place,
            at=self._timestamp(),
            carrier=job.carrier,
            parked=place if first else None,
        )
        if message.history:
            result = replace(result, history=self._history(message, code, reason))
        if message.charged:
            result = replace(result, charges=message.charged)
        _results(status).inc()
        record = Record(job.id.encode(), _encode(result), [], origin, message.offset)
        self._publisher.add(self._topics.results, record)

    def failed(self, message: Message, sender: str, code: int | None, reason: str) -> None:
        """The attempt to send *message* by *sender* came to nothing, and may not be the last: remember it."""
        message.history = (*message.history, Attempt(self._timestamp(), sender, code, reason))

    def _history(self, message: Message, code: int | None, reason: str | None) -> tuple[Attempt, ...]:
        """Return every attempt of *message*, of which the last may be what is being concluded."""
        if len(message.history) == message.attempts or message.sender is None:
            return message.history
        return (*message.history, Attempt(self._timestamp(), message.sender.number, code, reason))

    def park(self, message: Message, tier: str, due: float, priority: str, *, is_booked: bool = False) -> None:
        """Let *message* wait in *tier* since it is *due* so late; its record is settled when the copy is safe.

        The copy is of this moment, whenever it is written: what is said of its campaign from now on concerns it.
        """
        origin = message.origin
        if not origin.is_owned:
            return
        place = Position(origin.topic, origin.partition, message.offset)
        first = message.first or place
        headers = write_headers(Parked(due, first, priority, message.attempts, message.history, is_booked, place))
        at = int(self._clock.epoch() * 1000)
        record = Record(message.job.to.encode(), _encode(message.job), list(headers), origin, message.offset, at)
        self._publisher.add(f"{self._topics.parked}.{tier}", record)

    def bury(self, origin: Origin, offset: int, key: bytes | None, value: bytes | None, reason: str) -> None:
        """Keep the record at *offset* of *origin*, which is no job, with the *reason*."""
        metrics.DEAD_LETTERS.inc()
        log.warning("no job", topic=origin.topic, partition=origin.partition, offset=offset, reason=reason)
        letter = dead_letter(key=key, value=value, reason=reason, origin=origin, offset=offset, at=self._timestamp())
        self._publisher.add(self._topics.dead_letters, letter)

    def _timestamp(self) -> str:
        """Return the time as results show it; many are of one second."""
        second, millisecond = divmod(int(self._clock.epoch() * 1000), 1000)
        if second != self._second:
            self._second = second
            self._shown = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return self._shown + _MILLISECONDS[millisecond]


class ToldOutcomes(Outcomes):
    """Outcomes that tell *concluding* what becomes of each message that is ours, before it gets its result."""

    def __init__(
        self,
        publisher: Publisher,
        topics: Topics,
        clock: Clock,
        concluding: Callable[[Message, Status, int], None],
    ) -> None:
        super().__init__(publisher, topics, clock)
        self._concluding = concluding

    @override
    def conclude(
        self,
        message: Message,
        status: Status,
        *,
        sid: str | None = None,
        segments: int = 0,
        code: int | None = None,
        reason: str | None = None,
    ) -> None:
        if message.origin.is_owned:
            self._concluding(message, status, segments)
        super().conclude(message, status, sid=sid, segments=segments, code=code, reason=reason)
