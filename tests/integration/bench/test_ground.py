"""What answers at `twilio.base_url` is known before anything is sent there."""

from typing import Any

import aiohttp
import pytest

from benchmarks.stage import free_port
from dispatcher.bench.ground import Ground, look_at
from dispatcher.clock import SystemClock
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.fleet import Fleet
from dispatcher.domain.settings import Listen, SimulatorSettings, TwilioSettings
from dispatcher.simulator.server import open_simulator
from tests.integration.bench.twilio import FORBIDDEN, LIVE, TEST, UNKNOWN, answering
from tests.unit.pacing.making import make_account, make_fleet, make_sender

FLEET = make_fleet([make_sender("72345", 100)], accounts=[make_account(), make_account("promo")])


async def ground(base_url: str, fleet: Fleet = FLEET) -> Ground | None:
    async with aiohttp.ClientSession() as http:
        return await look_at(http, TwilioSettings(base_url=base_url), fleet)


async def test_the_stand_in_says_that_it_is_one() -> None:
    listen = Listen(host="127.0.0.1", port=0)
    async with open_simulator(FLEET, SimulatorSettings(), listen=listen, clock=SystemClock()) as stand_in:
        assert await ground(stand_in.url) is Ground.STAND_IN
        other = make_fleet([make_sender("72346", 100)])
        with pytest.raises(DispatcherError, match="runs with another config, which has no sender 72346"):
            await ground(stand_in.url, other)


@pytest.mark.parametrize(
    ("answer", "found"), [(TEST, Ground.TEST_CREDENTIALS), (LIVE, Ground.LIVE), (FORBIDDEN, Ground.LIVE)]
)
async def test_credentials_are_test_credentials_when_twilio_says_so_and_only_then(
    answer: tuple[int, Any], found: Ground
) -> None:
    async with answering(*answer) as twilio:
        assert await ground(twilio.url) is found
        assert twilio.sent == []


@pytest.mark.parametrize("body", [None, [], "20008", {"code": "20008"}, {"message": "20008"}])
async def test_an_answer_that_only_looks_like_it_counts_as_live(body: Any) -> None:
    async with answering(403, body) as twilio:
        assert await ground(twilio.url) is Ground.LIVE


async def test_an_account_that_twilio_does_not_know_is_named() -> None:
    async with answering(*UNKNOWN) as twilio:
        with pytest.raises(DispatcherError, match="Twilio does not know account main"):
            await ground(twilio.url)


async def test_nobody_may_answer() -> None:
    assert await ground(f"http://127.0.0.1:{free_port()}") is None
