"""Alerts on their way to webhooks that are well, slow, broken or gone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from dispatcher.alerts import webhooks
from dispatcher.alerts.webhooks import MOST_WAITING, TRIES, Webhooks
from dispatcher.domain.alert import Alert
from dispatcher.domain.fleet import Secret
from dispatcher.domain.settings import AlertWebhook
from tests.clock import FakeClock


def alert(number: int = 1) -> Alert:
    return Alert(
        alert="code_spike",
        subject=f"campaign c{number}",
        state="raised",
        severity="page",
        why="it is bad",
        value=0.08,
        threshold=0.05,
        since="2026-11-24T18:00:00.000+00:00",
        at="2026-11-24T18:00:00.000+00:00",
    )


class Server:
    """Answers with *statuses* in turn, the last one for ever, and remembers who was told what."""

    def __init__(self) -> None:
        self.statuses = [200]
        self.told: list[tuple[str, Any]] = []
        self.came = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.port = 0

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.told.append((request.path_qs, orjson.loads(await request.read())))
        self.came.set()
        await self.may_answer.wait()
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else None)

    def url(self, path: str = "/T0/B0/hush?key=hush") -> Secret:
        return Secret(f"http://127.0.0.1:{self.port}{path}")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    runner = web.ServerRunner(web.Server(found.answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.port = runner.addresses[0][1]
    yield found
    await runner.cleanup()


@asynccontextmanager
async def telling(clock: FakeClock, *found: AlertWebhook) -> AsyncIterator[Webhooks]:
    async with aiohttp.ClientSession() as http, asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        teller = Webhooks(found, http, clock, Random(1))
        running = tasks.create_task(teller.run())
        yield teller
        running.cancel()


async def until(is_so: Callable[[], bool], clock: FakeClock | None = None) -> None:
    """Let the loop turn, and time pass where a clock is given, until it is so."""
    while not is_so():
        if clock is not None:
            clock.advance(1.0)
        await asyncio.sleep(0)


async def test_each_webhook_is_told_in_its_form(server: Server, clock: FakeClock) -> None:
    both = AlertWebhook(url=server.url("/json")), AlertWebhook(url=server.url("/slack"), format="slack")
    async with telling(clock, *both) as teller:
        teller.tell(alert())
        await until(lambda: len(server.told) == 2)
    told = dict(server.told)
    assert told["/json"]["subject"] == "campaign c1"
    assert told["/slack"] == {"text": ":rotating_light: *code_spike* raised: it is bad"}


@pytest.mark.parametrize("status", [500, 503, 429, 408])
async def test_what_may_go_well_later_is_tried_again_and_in_order(
    server: Server, clock: FakeClock, status: int
) -> None:
    server.statuses = [status, status, 200]
    async with telling(clock, AlertWebhook(url=server.url())) as teller:
        teller.tell(alert(1))
        teller.tell(alert(2))
        await until(lambda: len(server.told) == 4, clock)
    assert [body["subject"][-2:] for _, body in server.told] == ["c1", "c1", "c1", "c2"]


@pytest.mark.parametrize("status", [400, 403, 404, 410, 302])
async def test_who_refuses_for_good_is_not_asked_again_and_no_secret_is_told(
    server: Server, clock: FakeClock, status: int
) -> None:
    server.statuses = [status, 200]
    with capture_logs() as logs:
        async with telling(clock, AlertWebhook(url=server.url())) as teller:
            teller.tell(alert(1))
            teller.tell(alert(2))
            await until(lambda: len(server.told) == 2)
    assert [body["subject"][-2:] for _, body in server.told] == ["c1", "c2"]
    (log,) = logs
    assert (log["webhook"], log["subject"], log["reason"]) == ("127.0.0.1", "campaign c1", f"it answers {status}")
    assert "hush" not in str(logs)


async def test_who_is_gone_is_given_up_after_minutes_and_no_secret_is_told(clock: FakeClock, server: Server) -> None:
    gone = Secret("http://127.0.0.1:1/T0/B0/hush")
    with capture_logs() as logs:
        async with telling(clock, AlertWebhook(url=gone), AlertWebhook(url=server.url())) as teller:
            started = clock.monotonic()
            teller.tell(alert())
            # The other one is not held up.
            await server.came.wait()
            await until(lambda: bool(logs), clock)
    assert clock.monotonic() - started > 300
    assert (logs[0]["webhook"], logs[0]["reason"]) == ("127.0.0.1", "ClientConnectorError")
    assert "hush" not in str(logs)


async def test_of_too_many_the_oldest_is_dropped_and_nobody_waits(server: Server, clock: FakeClock) -> None:
    server.may_answer.clear()
    async with telling(clock, AlertWebhook(url=server.url())) as teller:
        teller.tell(alert(0))
        await server.came.wait()
        with capture_logs() as logs:
            for number in range(1, MOST_WAITING + 3):
                teller.tell(alert(number))
        assert [log["subject"] for log in logs] == ["campaign c1", "campaign c2"]
        server.may_answer.set()
        await until(lambda: len(server.told) == MOST_WAITING + 1)
    assert server.told[1][1]["subject"] == "campaign c3"


async def test_who_keeps_silent_is_tried_again(
    server: Server, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "TIMEOUT", 0.05)
    server.may_answer.clear()
    async with telling(clock, AlertWebhook(url=server.url())) as teller:
        teller.tell(alert())
        await until(lambda: len(server.told) == TRIES, clock)
        server.may_answer.set()
