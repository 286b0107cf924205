"""Both HTTP clients over TLS."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Literal

import pytest
from yarl import URL

from dispatcher.clock import SystemClock
from dispatcher.transport import session, wire_dial
from dispatcher.transport.exchange import Send
from dispatcher.transport.http import open_http
from tests.integration.transport.rude import CERTIFICATE, Client, Handler, Peer, serve, serve_tls, turns

Kind = Literal["wire", "aiohttp"]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}"

pytestmark = pytest.mark.parametrize("kind", ["wire", "aiohttp"])


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))


def client(kind: Kind, request_timeout: float = 10.0) -> AbstractAsyncContextManager[Send]:
    return open_http(kind, "https://localhost", request_timeout=request_timeout, clock=SystemClock())


def says(answer: bytes, *, then: Literal["stay", "close", "cut"] = "stay") -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"Content-Length: 5\r\n" in head
            assert await reader.readexactly(5) == b"first"
            writer.write(answer)
            await writer.drain()
            if then == "close":
                writer.close()
                await writer.wait_closed()
            if then != "stay":
                return

    return handle


@pytest.mark.usefixtures("trusted")
async def test_a_server_is_asked_by_its_name_for_http_1(kind: Kind) -> None:
    seen: list[str | None] = []
    protocols: list[str | None] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocols.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await says(ANSWER)(reader, writer)

    async with serve_tls(handle, seen) as port, client(kind) as send:
        asking = Client(send, URL(f"https://localhost:{port}/"))
        assert await asking.ask(b"first") == (200, b"{}")
        asking.told.clear()
        assert await asking.ask(b"first") == (200, b"{}")
    assert (seen, protocols) == (["localhost"], ["http/1.1"])


_CUT = says(UNTIL_CLOSED, then="cut")


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("handler", "told"),
    [
        pytest.param(says(UNTIL_CLOSED, then="close"), (200, b"{}"), id="ends with a word"),
        pytest.param(_CUT, "no reply", id="ends without one"),
        pytest.param(says(ANSWER, then="cut"), (200, b"{}"), id="says how long it is, and ends without a word"),
        pytest.param(says(ANSWER[:-1], then="cut"), "no reply", id="ends early without a word"),
        pytest.param(says(ANSWER[:-1], then="close"), "no reply", id="ends early with a word"),
        pytest.param(says(b"", then="cut"), "no reply", id="no answer"),
    ],
)
async def test_the_end_of_an_answer_is_what_was_signed(
    kind: Kind, handler: Handler, told: tuple[int, bytes] | str
) -> None:
    if kind == "aiohttp" and handler is _CUT:
        told = (200, b"{}")  # it takes any end for the answer's; Twilio says how long its answers are
    async with serve_tls(handler, []) as port, client(kind) as send:
        asking = Client(send, URL(f"https://localhost:{port}/"))
        assert await asking.ask(b"first") == told
        assert len(asking.told[b"first"]) == 1


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("then", ["close", "cut"])
async def test_a_connection_that_has_ended_since_is_not_used(kind: Kind, then: Literal["close", "cut"]) -> None:
    async with serve_tls(says(ANSWER, then=then), []) as port, client(kind) as send:
        asking = Client(send, URL(f"https://localhost:{port}/"))
        for _ in range(3):
            assert await asking.ask(b"first") == (200, b"{}")
            asking.told.clear()
            await turns(20)


@pytest.mark.usefixtures("trusted")
async def test_another_hosts_certificate_is_no_good(kind: Kind) -> None:
    async with serve_tls(says(ANSWER), []) as port, client(kind) as send:
        assert await Client(send, URL(f"https://127.0.0.1:{port}/")).ask(b"first") == "not written"


async def test_a_certificate_that_nobody_vouches_for_is_no_good(kind: Kind) -> None:
    async with serve_tls(says(ANSWER), []) as port, client(kind) as send:
        assert await Client(send, URL(f"https://localhost:{port}/")).ask(b"first") == "not written"


@pytest.mark.parametrize("then", ["speak plainly", "close", "reset", "keep silent"])
async def test_without_tls_nothing_is_written(kind: Kind, then: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_dial, "CONNECT_TIMEOUT", 0.3)
    monkeypatch.setattr(session, "CONNECT_TIMEOUT", 0.3)

    async def refuse(peer: Peer, _: bytes) -> None:
        hello = await peer.some()
        assert b"first" not in hello
        if then == "speak plainly":
            await peer.send(ANSWER)
        elif then == "close":
            peer.close()
        elif then == "reset":
            peer.reset()
        await asyncio.Event().wait()

    async with serve(refuse, refuse, at_once=True) as server, client(kind) as send:
        assert await Client(send, server.url.with_scheme("https")).ask(b"first") == "not written"
