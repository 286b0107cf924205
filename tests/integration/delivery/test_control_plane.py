"""The look-ups against Twilio's stand-in, by both clients."""

from dataclasses import replace
from typing import Literal
from urllib.parse import urlencode

import pytest
from aiohttp import encode_basic_auth
from yarl import URL

from dispatcher.clock import SystemClock
from dispatcher.delivery.control_plane import ControlPlane
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.fleet import Account, Fleet, Secret, Sender, SenderKind
from dispatcher.domain.rate import Rate
from dispatcher.domain.settings import Listen, SimulatorSettings
from dispatcher.simulator.server import open_simulator
from dispatcher.transport.exchange import Head
from dispatcher.transport.http import ask, open_http

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
        assert await plane.trouble_with(OURS) == ""
        assert await plane.trouble_with(NOT_OURS) == "account main has no such sender"
        assert await plane.messages(sender="72345", to="+12065550142") == []


async def test_a_service_is_asked_whether_it_can_send(transport: Transport) -> None:
    clock = SystemClock()
    service = Sender(number="MG" + "5" * 32, kind=SenderKind.MESSAGING_SERVICE, account="main", rate=Rate(10, "s"))
    stranger = replace(service, number="MG" + "6" * 32)
    fleet = replace(FLEET, senders={service.number: service})
    for senders, trouble in ((3, ""), (0, "the Messaging Service has no sender; add one at Twilio")):
        settings = SimulatorSettings(service_senders=senders)
        async with (
            open_simulator(fleet, settings, listen=ANYWHERE, clock=clock) as simulator,
            open_http(transport, simulator.url, request_timeout=10.0, clock=clock) as http,
        ):
            plane = ControlPlane(http, ACCOUNT, simulator.url)
            assert await plane.trouble_with(service) == trouble
            assert await plane.trouble_with(stranger) == "account main has no such Messaging Service"


async def test_what_a_service_sent_is_found_by_whatever_number_it_chose(transport: Transport) -> None:
    clock = SystemClock()
    senders = [
        Sender(number=sid, kind=SenderKind.MESSAGING_SERVICE, account="main", rate=Rate(10, "s"))
        for sid in ("MG" + "5" * 32, "MG" + "6" * 32)
    ]
    fleet = replace(FLEET, senders={"72345": OURS} | {sender.number: sender for sender in senders})
    async with (
        open_simulator(fleet, SimulatorSettings(), listen=ANYWHERE, clock=clock) as simulator,
        open_http(transport, simulator.url, request_timeout=10.0, clock=clock) as http,
    ):
        for number, origin in enumerate((senders[0], senders[1], OURS)):
            key = "From" if origin is OURS else "MessagingServiceSid"
            form = urlencode({key: origin.number, "To": "+12065550142", "Body": f"text {number}"})
            head = Head(
                "POST",
                URL(f"{simulator.url}/2010-04-01/Accounts/{ACCOUNT.sid}/Messages.json"),
                {"Authorization": encode_basic_auth(*ACCOUNT.credentials)},
            )
            assert (await ask(http, head, form.encode())).status == 201
        plane = ControlPlane(http, ACCOUNT, simulator.url)
        for number, origin in enumerate((senders[0], senders[1], OURS)):
            [found] = await plane.messages(sender=origin.number, to="+12065550142")
            assert (found.body, found.segments) == (f"text {number}", 1)


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
