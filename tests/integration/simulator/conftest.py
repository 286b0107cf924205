import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from dispatcher.clock import SystemClock
from dispatcher.domain.fleet import A2PCampaign, Account, Brand, Fleet, Pool, Secret, Sender, SenderKind
from dispatcher.domain.rate import Rate
from dispatcher.domain.settings import Listen, SimulatorSettings
from dispatcher.simulator.server import Simulator, open_simulator

PROMO = "AC" + "2" * 32

OpenSimulator = Callable[..., Awaitable[Simulator]]


@pytest.fixture
def fleet() -> Fleet:
    fast = Rate(10_000, "s")
    return Fleet(
        accounts={
            "main": Account(name="main", sid="AC" + "1" * 32, auth_token=Secret("main-token")),
            "promo": Account(name="promo", sid=PROMO, auth_token=Secret("promo-token"), parent="main"),
        },
        senders={
            "72345": Sender(number="72345", kind=SenderKind.SHORT_CODE, account="main", rate=fast),
            "+18885550100": Sender(
                number="+18885550100", kind=SenderKind.TOLL_FREE, account="main", rate=Rate(0.0001, "s")
            ),
            "+12065550100": Sender(
                number="+12065550100", kind=SenderKind.LONG_CODE, account="promo", a2p_campaign="promo-10dlc"
            ),
        },
        a2p_campaigns={
            "promo-10dlc": A2PCampaign(
                name="promo-10dlc",
                brand="acme",
                rates={"att": fast, "tmobile": fast, "verizon": fast, "other": fast},
            )
        },
        brands={"acme": Brand(name="acme")},
        pools={
            "marketing": Pool(name="marketing", senders=("72345",)),
            "slow": Pool(name="slow", senders=("+18885550100",)),
        },
    )


@pytest.fixture
async def simulator_with(fleet: Fleet) -> AsyncIterator[OpenSimulator]:
    """Open a stand-in without latency and with everything delivered, but for the settings given."""
    async with AsyncExitStack() as stack:

        async def open_one(**changes: Any) -> Simulator:
            quick = {"latency_low": 0.0, "latency_high": 0.0, "tail_share": 0.0, "undelivered_share": 0.0}
            settings = SimulatorSettings(**quick | changes)
            listen = Listen(host="127.0.0.1", port=0)
            return await stack.enter_async_context(open_simulator(fleet, settings, listen=listen, clock=SystemClock()))

        yield open_one


@pytest.fixture
async def simulator(simulator_with: OpenSimulator) -> Simulator:
    return await simulator_with()


class Callback(NamedTuple):
    url: str
    parameters: dict[str, str]
    signature: str
    token: str

    @property
    def status(self) -> str:
        return self.parameters["MessageStatus"]


class Receiver:
    """Receives callbacks as our webhook does; answers with *statuses* in turn, then with 204."""

    def __init__(self) -> None:
        self.url = ""
        self.statuses: list[int] = []
        self._received: asyncio.Queue[Callback] = asyncio.Queue()

    async def handle(self, request: web.Request) -> web.Response:
        form = await request.post()
        callback = Callback(
            url=str(request.url),
            parameters={name: str(value) for name, value in form.items()},
            signature=request.headers["X-Twilio-Signature"],
            token=request.headers["I-Twilio-Idempotency-Token"],
        )
        self._received.put_nowait(callback)
        return web.Response(status=self.statuses.pop(0) if self.statuses else 204)

    async def receive(self, count: int) -> list[Callback]:
        """Return the next *count* callbacks."""
        async with asyncio.timeout(20):
            return [await self._received.get() for _ in range(count)]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    one = Receiver()
    app = web.Application()
    app.router.add_post("/twilio/status", one.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}/twilio/status"
    yield one
    await runner.cleanup()
