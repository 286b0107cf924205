"""Lets the tracker raise alerts: by what it counts, by what waits in Kafka, and by which senders are suspended."""

import asyncio
from collections.abc import Collection
from typing import Any

import structlog

from dispatcher.alerts.alarms import Alarms
from dispatcher.alerts.rules import Counted, Figures, judge
from dispatcher.alerts.webhooks import Webhooks
from dispatcher.clock import Clock
from dispatcher.domain.alert import Alert, decode, encode
from dispatcher.domain.control import SENDER, decode_sender
from dispatcher.domain.errors import KafkaUnavailableError
from dispatcher.domain.sender_health import SenderHealth
from dispatcher.domain.settings import Settings
from dispatcher.telemetry import metrics
from dispatcher.tracking.follower import Outgoing
from dispatcher.tracking.writing import Entry
from dispatcher.transport.kafka import KafkaError, TopicPartition, committed, make_admin, make_consumer, running

log = structlog.get_logger()

LOOK_EVERY = 2.0
_ANSWER_TIMEOUT = 30.0
_POLL_MS = 200


class Alerting:
    """Judges what is known once a second; `recall` first what was raised when the last tracker ended."""

    def __init__(self, settings: Settings, clock: Clock, recent: Counted, webhooks: Webhooks) -> None:
        self._settings = settings
        self._clock = clock
        self._recent = recent
        self._webhooks = webhooks
        self._alarms: Alarms | None = None
        self._senders: dict[str, SenderHealth] = {}
        self._suspended: dict[str, str] = {}
        self._lag: int | None = None
        self._own = tuple(rule for rule in settings.feedback.rules if rule.deed.what == "alert")
        self._rates = {
            number: sender.rate.per_second
            for number, sender in settings.fleet.senders.items()
            if sender.rate is not None
        }

    async def recall(self, consumer: Any) -> None:
        """Read what is raised, once; *consumer* is of no group, and free."""
        if self._alarms is not None:
            return
        latest: dict[bytes, Alert] = {}
        for key, value in await _read_all(consumer, self._settings.topics.alerts):
            try:
                latest[key] = decode(value or b"")
            except ValueError as error:
                log.warning("an alert cannot be read; it is passed over", error=str(error))
        self._alarms = Alarms(alert for alert in latest.values() if alert.state == "raised")
        for alert in self._alarms.raised:
            _show(alert)

    def look(self, states: Collection[SenderHealth], overdue: int | None) -> list[Outgoing]:
        """Return the alerts that are to be written: by the senders' new *states* and all else that is known now."""
        self._senders |= {state.sender: state for state in states}
        if self._alarms is None:
            return []
        figures = Figures(
            recent=self._recent,
            senders=self._senders.values(),
            rates=self._rates,
            overdue=overdue,
            lag=self._lag,
            suspended=self._suspended,
        )
        now = self._clock.now()
        told = self._alarms.look(judge(figures, self._settings.alerts, now.timestamp(), self._own), now)
        for alert in told:
            log.warning("alert", alert=alert.alert, subject=alert.subject, state=alert.state, why=alert.why)
            _show(alert)
            self._webhooks.tell(alert)
        return [Outgoing(self._settings.topics.alerts, 1, Entry(alert.key, encode(alert))) for alert in told]

    async def follow(self) -> None:
        """Keep an eye on the jobs topics and on the control topic, for ever."""
        kafka = self._settings.kafka
        while True:
            try:
                async with (
                    running(make_admin(kafka), kafka) as admin,
                    running(make_consumer(kafka, group=False), kafka) as consumer,
                ):
                    self._suspended = {}
                    for key, value in await _read_all(consumer, self._settings.topics.control):
                        self._obey(key, value)
                    while True:
                        await self._look_around(admin, consumer)
                        await self._clock.sleep(LOOK_EVERY)
            except (KafkaUnavailableError, KafkaError, TimeoutError, OSError) as error:
                self._lag = None
                log.debug("jobs and orders cannot be followed; trying again", error=repr(error))
                await self._clock.sleep(LOOK_EVERY)

    async def _look_around(self, admin: Any, consumer: Any) -> None:
        settings = self._settings
        jobs = [
            TopicPartition(priority.topic, number)
            for priority in settings.priorities
            for number in range(settings.kafka.partitions)
        ]
        async with asyncio.timeout(_ANSWER_TIMEOUT):
            starts, ends = await consumer.beginning_offsets(jobs), await consumer.end_offsets(jobs)
            done = await committed(admin, settings.kafka.group_id, jobs)
        self._lag = sum(max(0, ends[one] - max(starts[one], done[one].offset if one in done else 0)) for one in jobs)
        for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
            for record in records:
                self._obey(record.key or b"", record.value)

    def _obey(self, key: bytes, value: bytes | None) -> None:
        name = key.decode("utf-8", "replace")
        if not name.startswith(SENDER):
            return
        try:
            suspension = decode_sender(value).suspension if value else None
        except ValueError:
            return  # whoever obeys it says so
        number = name.removeprefix(SENDER)
        if suspension is None:
            self._suspended.pop(number, None)
        else:
            self._suspended[number] = str(suspension)


async def _read_all(consumer: Any, topic: str) -> list[tuple[bytes, bytes | None]]:
    """Return the keys and values in the only partition of *topic*, which *consumer* is assigned from then on."""
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    await consumer.seek_to_beginning(partition)
    end = (await consumer.end_offsets([partition]))[partition]
    found: list[tuple[bytes, bytes | None]] = []
    while await consumer.position(partition) < end:
        for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
            found += [(record.key or b"", record.value) for record in records]
    return found


def _show(alert: Alert) -> None:
    labels = alert.alert, alert.subject, alert.severity
    if alert.state == "raised":
        metrics.ALERTS.labels(*labels).set(1)
    else:
        metrics.ALERTS.remove(*labels)
