"""Which client is opened, and how one request is asked."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Literal

import pytest
from yarl import URL

from dispatcher.clock import SystemClock
from dispatcher.transport.exchange import Head, NoReplyError, NotWrittenError, Send
from dispatcher.transport.http import ask, open_http
from tests.integration.transport.rude import Client, Peer, serve

CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"


def client(transport: Literal["wire", "aiohttp"], url: str) -> AbstractAsyncContextManager[Send]:
    return open_http(transport, url, request_timeout=10.0, clock=SystemClock())


@pytest.mark.parametrize("transport", ["wire", "aiohttp"])
async def test_a_proxy_that_the_environment_names_is_used(
    transport: Literal["wire", "aiohttp"], monkeypatch: pytest.MonkeyPatch
) -> None:
    heads: list[bytes] = []

    async def read_head(peer: Peer, _: bytes) -> None:
        heads.append(await peer.some())
        await peer.send(CREATED)

    async with serve(read_head, at_once=True) as proxy:
        monkeypatch.setenv("HTTP_PROXY", str(proxy.url))
        async with client(transport, "http://twilio.test") as send:
            assert await Client(send, URL("http://twilio.test/a")).ask(b"first") == (201, b"{}")
    assert heads[0].startswith(b"POST http://twilio.test/a HTTP/1.1\r\n")


@pytest.mark.parametrize("transport", ["wire", "aiohttp"])
async def test_no_proxy_is_used_for_a_host_that_needs_none(
    transport: Literal["wire", "aiohttp"], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as proxy, serve() as server:
        monkeypatch.setenv("HTTP_PROXY", str(proxy.url))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with client(transport, str(server.url)) as send:
            assert await Client(send, server).ask(b"first") == (200, b"first")
    assert not proxy.peers


@pytest.mark.parametrize("transport", ["wire", "aiohttp"])
async def test_a_proxy_that_refuses_has_let_nothing_through(
    transport: Literal["wire", "aiohttp"], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(peer: Peer, _: bytes) -> None:
        await peer.some()
        await peer.send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    async with serve(refuse, at_once=True) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", str(proxy.url))
        async with client(transport, "https://twilio.test") as send:
            assert await Client(send, URL("https://twilio.test/a")).ask(b"first") == "not written"


@pytest.mark.parametrize("transport", ["wire", "aiohttp"])
async def test_one_request_is_answered_or_the_reason_raised(transport: Literal["wire", "aiohttp"]) -> None:
    async def close(peer: Peer, _: bytes) -> None:
        peer.close()

    async with serve(close) as server, client(transport, str(server.url)) as send:
        head = Head("POST", server.url, {})
        with pytest.raises(NoReplyError):
            await ask(send, head, b"first")
        assert (await ask(send, head, b"second")).body == b"second"
        assert (await ask(send, Head("GET", server.url, {}))).body == b""
    async with client(transport, str(server.url)) as send:
        with pytest.raises(NotWrittenError):
            await ask(send, head, b"third")


@pytest.mark.parametrize("transport", ["wire", "aiohttp"])
async def test_whoever_asked_may_leave_before_the_answer(transport: Literal["wire", "aiohttp"]) -> None:
    asked = asyncio.Event()

    async def wait(peer: Peer, _: bytes) -> None:
        asked.set()
        await asyncio.sleep(0)
        await peer.send(CREATED)

    async with serve(wait) as server, client(transport, str(server.url)) as send:
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(ask(send, Head("POST", server.url, {}), b"first"))
            await asked.wait()
            asking.cancel()
        assert await Client(send, server).ask(b"second") == (200, b"second")
