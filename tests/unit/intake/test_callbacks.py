"""What the callbacks topic says of messages in doubt."""

from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError

from dispatcher.domain.errors import KafkaUnavailableError
from dispatcher.intake.callbacks import CallbackLog


class AwayConsumer:
    """A consumer whose broker is away."""

    def assign(self, partitions: list[Any]) -> None:
        pass

    async def offsets_for_times(self, _times: Any) -> Any:
        raise KafkaTimeoutError


async def test_a_broker_that_is_away_is_told_of_so_that_the_worker_goes_on() -> None:
    callbacks = CallbackLog(AwayConsumer(), "twilio.callbacks", 12)
    with pytest.raises(KafkaUnavailableError, match="KafkaTimeoutError"):
        await callbacks.proofs({"spring-1"}, datetime(2026, 11, 24, tzinfo=UTC))
