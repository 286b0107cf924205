import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from twilio.request_validator import RequestValidator
from yarl import URL

from dispatcher.clock import SystemClock
from dispatcher.domain.fleet import Account, Secret
from dispatcher.domain.settings import Listen, Replies
from dispatcher.webhooks.server import Webhooks, open_webhooks
from dispatcher.webhooks.signature import Signatures

MAIN = Account(name="main", sid="AC" + "1" * 32, auth_token=Secret("main-token"))
ANYWHERE = Listen(host="127.0.0.1", port=0)
PUBLIC_URL = "https://hooks.example.com"
REPLIES: dict[str, Replies] = {
    "72345": {"en": {"stop": "You get no more <Acme> alerts.", "help": "Acme & Co."}, "fr": {"stop": "C'est fini."}}
}
STATUS = "/twilio/status?mid=spring-1&a=1"
FIELDS = {"AccountSid": MAIN.sid, "MessageSid": "SM1", "MessageStatus": "delivered", "To": "+12065550142"}


def signed(target: str, fields: Mapping[str, str], public_url: str = PUBLIC_URL) -> dict[str, str]:
    """Return the headers that Twilio sends."""
    signature = RequestValidator(MAIN.auth_token.reveal()).compute_signature(public_url + target, fields)
    return {"X-Twilio-Signature": signature, "Content-Type": "application/x-www-form-urlencoded"}


class Keeper:
    """Keeps callbacks, or refuses them, or lets them wait."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.is_full = False
        self.is_slow = False
        self.came = asyncio.Event()
        self._waiting: list[asyncio.Future[bool]] = []

    def put(self, key: bytes, value: bytes) -> "asyncio.Future[bool]":
        assert key
        self.values.append(value)
        self.came.set()
        kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(kept)
        if not self.is_slow:
            self.settle()
        return kept

    def settle(self) -> None:
        while self._waiting:
            self._waiting.pop().set_result(not self.is_full)


class Caller:
    """Calls the receiver as Twilio does, and as others do."""

    def __init__(self, listen: Listen, http: aiohttp.ClientSession, receiving: AsyncExitStack) -> None:
        self.listen = listen
        # Whoever leaves this context ends the receiver.
        self.receiving = receiving
        self._http = http

    async def post(
        self,
        target: str = STATUS,
        fields: Mapping[str, str] = FIELDS,
        *,
        method: str = "POST",
        path: str | None = None,
        public_url: str = PUBLIC_URL,
        **changes: Any,
    ) -> aiohttp.ClientResponse:
        """Post *fields* to *target*, signed; *changes* go to aiohttp instead of what would be right."""
        url = URL(f"http://{self.listen}{path or target}", encoded=True)
        right = {"data": urlencode(fields).encode(), "headers": signed(target, fields, public_url)}
        async with self._http.request(method, url, **right | changes) as response:
            await response.read()
            return response

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Open a connection to say on it whatever."""
        reader, writer = await asyncio.open_connection(self.listen.host, self.listen.port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def say(self, *said: bytes) -> bytes:
        """Say what there is to say, piece by piece, and return what is answered until the connection ends."""
        async with self.connect() as (reader, writer):
            answer = b""
            with suppress(ConnectionError):
                for piece in said:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                while heard := await reader.read(1000):
                    answer += heard
            return answer


@asynccontextmanager
async def open_caller(
    keeper: Keeper, *, public_url: str = PUBLIC_URL, listen: Listen = ANYWHERE
) -> AsyncIterator[Caller]:
    """Open a receiver, and who calls it; for half a minute at most."""
    webhooks = Webhooks(Signatures([MAIN], public_url), public_url, keeper.put, SystemClock(), REPLIES)
    async with asyncio.timeout(30), aiohttp.ClientSession() as http, AsyncExitStack() as receiving:
        where = await receiving.enter_async_context(open_webhooks(webhooks, listen))
        yield Caller(where, http, receiving)


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


@pytest.fixture
def public_url() -> str:
    return PUBLIC_URL


@pytest.fixture
async def caller(keeper: Keeper, public_url: str) -> AsyncIterator[Caller]:
    async with open_caller(keeper, public_url=public_url) as one:
        yield one
