"""Follows the control topic: what operators and publishers say about campaigns."""

from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from dispatcher.clock import Clock
from dispatcher.domain.rate import Rate

log = structlog.get_logger()

_CAMPAIGN = "campaign/"
RETRY_AFTER = 1.0


class _CampaignRecord(msgspec.Struct, gc=False):
    """What this program reads of a campaign's record; others read more."""

    rate: str | None = None


_decoder = msgspec.json.Decoder(_CampaignRecord)


class ControlReader:
    """Tells *throttle* the rate of each campaign: None when it has none."""

    def __init__(self, consumer: Any, topic: str, clock: Clock, throttle: Callable[[str, Rate | None], None]) -> None:
        self._consumer = consumer
        self._partition = TopicPartition(topic, 0)
        self._clock = clock
        self._throttle = throttle

    async def catch_up(self) -> None:
        """Read all there is, so that no campaign starts before its rate is known."""
        self._consumer.assign([self._partition])
        await self._consumer.seek_to_beginning(self._partition)
        end = (await self._consumer.end_offsets([self._partition]))[self._partition]
        while await self._consumer.position(self._partition) < end:
            await self._read()

    async def follow(self) -> None:
        """Read what comes, for ever."""
        while True:
            try:
                await self._read()
            except KafkaError as error:
                log.warning("the control topic cannot be read; trying again", error=repr(error))
                await self._clock.sleep(RETRY_AFTER)

    async def _read(self) -> None:
        found = await self._consumer.getmany(timeout_ms=1000)
        for records in found.values():
            for record in records:
                self._obey(record.key, record.value)

    def _obey(self, key: bytes | None, value: bytes | None) -> None:
        name = (key or b"").decode("utf-8", "replace")
        if not name.startswith(_CAMPAIGN):
            return
        try:
            record = _CampaignRecord() if value is None else _decoder.decode(value)
            rate = None if record.rate is None else Rate.parse(record.rate)
        except (msgspec.MsgspecError, ValueError) as error:
            log.warning("a control record cannot be read; it is passed over", key=name, error=str(error))
            return
        self._throttle(name.removeprefix(_CAMPAIGN), rate)
