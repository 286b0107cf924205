"""The look-ups against Twilio's stand-in, by both clients."""

from typing import Literal

import pytest

from dispatcher.clock import SystemClock
from dispatcher.delivery.control_plane import ControlPlane
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.fleet import Account, Fleet, Secret, Sender, SenderKind
from dispatcher.domain.rate import Rate
from dispatcher.domain.settings import Listen, SimulatorSettings
from dispatcher.simulator.server import open_simulator
from dispatcher.transport.http import open_http

ACCOUNT = Account(name="main", sid="AC" + "1" * 32, auth_token=Secret("main-token"))
OURS = Sender(number="72345", kind=SenderKind.SHORT_CODE, account="main", rate=Rate(100, "s"))
NOT_OURS = Sender(number="+12065550100", kind=SenderKind.LONG_CODE, account="main", rate=Rate(1, "s"))
FLEET = Fleet(accounts={"main": ACCOUNT}, senders={"72345": OURS}, a2p_campaigns={}, brands={}, pools={})
ANYWHERE = Listen(host="127.0.0.1", port=0)

pytestmark = pytest.mark.parametrize("transport", ["wire", "aiohttp"])
Transport = Literal["wire", "aiohttp"]


async def test_an_account_is_asked_for_its_status_and_its_numbers(transport: Transport) -> None:
    clock = SystemClock()
    async with (
        open_simulator(FLEET, SimulatorSettings(), listen=ANYWHERE, clock=clock) as simulator,
        open_http(transport, simulator.url, request_timeout=10.0, clock=clock) as http,
    ):
        plane = ControlPlane(http, ACCOUNT, simulator.url)
        assert await plane.status() == "active"
        assert await plane.owns(OURS)
        assert not await plane.owns(NOT_OURS)
        assert await plane.messages(sender="72345", to="+12065550142") == []


async def test_a_refusal_says_what_to_check(transport: Transport) -> None:
    clock = SystemClock()
    stranger = Account(name="main", sid=ACCOUNT.sid, auth_token=Secret("wrong"))
    async with (
        open_simulator(FLEET, SimulatorSettings(), listen=ANYWHERE, clock=clock) as simulator,
        open_http(transport, simulator.url, request_timeout=10.0, clock=clock) as http,
    ):
        with pytest.raises(DispatcherError, match=r"^Twilio refuses account main .*; check its sid and credentials$"):
            await ControlPlane(http, stranger, simulator.url).status()


async def test_a_silence_says_what_to_check(transport: Transport) -> None:
    clock = SystemClock()
    async with open_simulator(FLEET, SimulatorSettings(), listen=ANYWHERE, clock=clock) as simulator:
        url = simulator.url
    async with open_http(transport, url, request_timeout=10.0, clock=clock) as http:
        with pytest.raises(DispatcherError, match=r": no connection \(.*\); check twilio.base_url and the network$"):
            await ControlPlane(http, ACCOUNT, url).status()
