"""As much of Twilio as a rehearsal meets, with test credentials or with live ones."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from aiohttp import web

TEST = (403, {"code": 20008, "message": "Resource not accessible with Test Account Credentials", "status": 403})
LIVE = (200, {"sid": "AC" + "1" * 32, "status": "active"})
UNKNOWN = (401, {"code": 20003, "message": "Authenticate", "status": 401})
FORBIDDEN = (403, {"code": 20003, "message": "Permission denied", "status": 403})


@dataclass(slots=True)
class Twilio:
    """What it was asked to send, and where it answers; of an account it says *status* and *account*."""

    status: int
    account: Any
    url: str = ""
    sent: list[dict[str, str]] = field(default_factory=list)
    numbers: "count[int]" = field(default_factory=count)

    async def show(self, _request: web.Request) -> web.Response:
        return web.json_response(self.account, status=self.status)

    async def send(self, request: web.Request) -> web.Response:
        self.sent.append({name: str(value) for name, value in (await request.post()).items()})
        return web.json_response({"sid": f"SM{next(self.numbers):032x}", "num_segments": "1"}, status=201)


@asynccontextmanager
async def answering(status: int, account: Any) -> AsyncIterator[Twilio]:
    """Answer on a port of the loopback, as Twilio does to credentials for which it says *status* and *account*."""
    twilio = Twilio(status, account)
    app = web.Application()
    app.router.add_get("/2010-04-01/Accounts/{sid}.json", twilio.show)
    app.router.add_post("/2010-04-01/Accounts/{sid}/Messages.json", twilio.send)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        twilio.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield twilio
    finally:
        await runner.cleanup()
