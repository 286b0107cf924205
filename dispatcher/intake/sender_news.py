"""Follows the senders topic: what tracking learned of each sender, from now on."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from dispatcher.clock import Clock
from dispatcher.domain.sender_health import SenderHealth

log = structlog.get_logger()

RETRY_AFTER = 1.0
# What is older is no news: a tracker that catches up tells of the past. Seconds.
STALE_AFTER = 15.0

_decode = msgspec.json.Decoder(SenderHealth).decode


class SenderNews:
    """Hands what comes to *heard*, with a *consumer* of no group."""

    def __init__(self, consumer: Any, topic: str, clock: Clock, heard: Callable[[SenderHealth], None]) -> None:
        self._consumer = consumer
        self._partition = TopicPartition(topic, 0)
        self._clock = clock
        self._heard = heard

    async def follow(self) -> None:
        """Read what comes, for ever; what was said before is no news."""
        self._consumer.assign([self._partition])
        while True:
            try:
                await self._consumer.seek_to_end(self._partition)
                while True:
                    await self._read()
            except KafkaError as error:
                log.warning("the senders topic cannot be read; trying again", error=repr(error))
                await self._clock.sleep(RETRY_AFTER)

    async def _read(self) -> None:
        for records in (await self._consumer.getmany(timeout_ms=1000)).values():
            for record in records:
                self._take(record.value)

    def _take(self, value: bytes | None) -> None:
        try:
            health = _decode(value or b"")
            age = (self._clock.now() - datetime.fromisoformat(health.at)).total_seconds()
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            log.warning("a record of the senders topic cannot be read; it is passed over", error=str(error))
            return
        if age < STALE_AFTER:
            self._heard(health)
