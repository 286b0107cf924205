"""What only the wire client promises, over real sockets."""

import asyncio
import select
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from yarl import URL

from dispatcher.clock import Clock, SystemClock
from dispatcher.transport.exchange import KEEP_ALIVE, Head, Send
from dispatcher.transport.timer_wheel import TICK
from dispatcher.transport.wire_client import open_wire
from dispatcher.transport.wire_dial import NAMES_HOLD
from tests.clock import FakeClock
from tests.integration.transport.rude import (
    CERTIFICATE,
    Client,
    Peer,
    echo,
    serve,
    serve_tls,
    turns,
)


def client(
    clock: Clock | None = None, may_write: Callable[[], bool] = lambda: True
) -> AbstractAsyncContextManager[Send]:
    return open_wire(request_timeout=20.0, may_write=may_write, clock=clock or SystemClock())


async def pass_time(clock: FakeClock, seconds: float) -> None:
    """Let *seconds* pass in ticks, and the loop do what falls due."""
    for _ in range(round(seconds / TICK)):
        clock.advance(TICK)
        await turns(4)


async def test_a_request_is_with_the_kernel_when_send_returns() -> None:
    async with serve() as server, client() as send:
        asking = Client(send, server)
        assert await asking.ask(b"first") == (200, b"first")
        asking.send(b"second")
        # No turn of the loop has passed: whoever is frozen now, and wakes after the fence has closed, writes nothing.
        assert server.peers[0].sock.recv(65536).endswith(b"\r\n\r\nsecond")


async def test_a_request_is_with_the_kernel_when_send_returns_over_tls_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    sockets: list[Any] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sockets.append(writer.get_extra_info("socket"))
        while await reader.readuntil(b"\r\n\r\n"):
            await reader.readexactly(5)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with serve_tls(handle, []) as port, client() as send:
        asking = Client(send, URL(f"https://localhost:{port}/"))
        assert await asking.ask(b"first") == (200, b"")
        await turns(10)
        assert not select.select(sockets, [], [], 0)[0]
        asking.send(b"other")
        assert select.select(sockets, [], [], 0)[0]


async def test_the_connection_that_was_used_last_is_used_first() -> None:
    all_three = asyncio.Barrier(3)

    async def wait_for_all(peer: Peer, body: bytes) -> None:
        await all_three.wait()
        if body != b"2":
            await turns(20)  # so that the other is the first to be answered, and its connection rests longest
        await echo(peer, body)

    async with serve(*[wait_for_all] * 3) as server, client() as send:
        asking = Client(send, server)
        for body in (b"1", b"2", b"3"):
            asking.send(body)
        assert [await asking.hear(body) for body in (b"1", b"2", b"3")] == [(200, b"1"), (200, b"2"), (200, b"3")]
        rested = next(peer for peer in server.peers if peer.asked == [b"2"])
        for body in (b"4", b"5"):
            assert await asking.ask(body) == (200, body)
        assert len(server.peers) == 3
        assert rested.asked == [b"2"]


async def test_a_request_goes_over_what_is_free_first_also_while_its_own_connection_is_opened() -> None:
    async with serve() as server, client() as send:
        asking = Client(send, server)
        assert await asking.ask(b"first") == (200, b"first")
        asking.send(b"second")
        asking.send(b"third")
        assert server.peers[0].sock.recv(65536).endswith(b"second")  # the server's loop does not see it any more
        await server.peers[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond")
        assert await asking.hear(b"second") == (200, b"second")
        assert await asking.hear(b"third") == (200, b"third")


async def test_an_answer_that_drips_has_the_time_of_a_whole_one(clock: FakeClock) -> None:
    async def drip(peer: Peer, _: bytes) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":
            await clock.sleep(1.0)
            await peer.send(bytes([byte]))

    async with serve(drip) as server, client(clock) as send:
        asking = Client(send, server)
        asking.send(b"first")
        while not server.peers or not server.peers[0].asked:
            await turns(1)
        await pass_time(clock, 19.9)
        assert not asking.told[b"first"]
        await pass_time(clock, 0.4)
        assert await asking.hear(b"first") == "no reply"


async def test_a_connection_that_nobody_needs_is_closed_before_the_server_would(clock: FakeClock) -> None:
    ends: list[type[BaseException]] = []

    async def watch(peer: Peer, body: bytes) -> None:
        await echo(peer, body)
        try:
            await peer.some()
        except (EOFError, ConnectionResetError) as end:
            ends.append(type(end))
            raise

    async with serve(watch) as server, client(clock) as send:
        asking = Client(send, server)
        assert await asking.ask(b"first") == (200, b"first")
        await pass_time(clock, KEEP_ALIVE - TICK)
        assert not ends
        await pass_time(clock, 3 * TICK)
        await turns(10)
        assert ends == [ConnectionResetError]
        assert await asking.ask(b"second") == (200, b"second")


async def test_what_is_in_flight_at_the_end_is_reset_and_told_nothing() -> None:
    ends: list[type[BaseException]] = []

    async def stall(peer: Peer, _: bytes) -> None:
        try:
            await peer.some()
        except (EOFError, ConnectionResetError) as end:
            ends.append(type(end))

    async with serve(stall) as server:
        async with client() as send:
            asking = Client(send, server)
            asking.send(b"first")
            while not server.peers or not server.peers[0].asked:
                await turns(1)
            asking.send(b"second")  # and one that is still connecting
        await turns(10)
        assert ends == [ConnectionResetError]
        assert not asking.told


@pytest.mark.parametrize("bug", [ValueError("a bug"), TimeoutError("one that a loop takes for the network's")])
async def test_what_whoever_is_told_raises_ends_the_process(bug: Exception) -> None:
    raised: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))

    def done(*_: Any) -> None:
        raise bug

    async with serve() as server, client() as send:
        send(Head("POST", server.url, {}), b"first", None, done)
        async with asyncio.timeout(10):
            while not raised:
                await turns(1)
        assert await Client(send, server).ask(b"second") == (200, b"second")
        assert len(server.peers) == 1
    # `app.process` leaves when a callback of the loop has raised, which has a handle.
    assert [(context["exception"], "handle" in context) for context in raised] == [(bug, True)]


class Names:
    """Stands in for the loop's resolver: `twilio.test` has *addresses*."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
        self.addresses = addresses
        self.asked = 0
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self.getaddrinfo)

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        if host != "twilio.test":  # uvloop asks also for what is an address
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        self.asked += 1
        if not self.addresses:
            raise socket.gaierror
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.addresses]


async def test_connections_are_spread_over_the_addresses_and_past_those_that_refuse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []

    async def note_and_end(peer: Peer, body: bytes) -> None:
        seen.append(peer.sock.getsockname()[0])
        await peer.send(b"HTTP/1.0 200 OK\r\n\r\n" + body)
        peer.close()

    loop = asyncio.get_running_loop()
    connect = loop.sock_connect
    tried: list[str] = []

    async def sock_connect(sock: socket.socket, address: Any) -> None:
        tried.append(address[0])
        await connect(sock, address)

    monkeypatch.setattr(loop, "sock_connect", sock_connect)
    Names(monkeypatch, "127.0.0.3", "127.0.0.2", "127.0.0.1")
    async with serve(*[note_and_end] * 6, on=("127.0.0.1", "127.0.0.2")) as server, client() as send:
        asking = Client(send, server.url.with_host("twilio.test"))
        for body in (b"1", b"2", b"3", b"4", b"5", b"6"):
            assert await asking.ask(body) == (200, body)
        assert sorted(seen)[1:-1] == ["127.0.0.1"] * 2 + ["127.0.0.2"] * 2
        assert tried.count("127.0.0.3") == 1  # it is not asked again before the name is


async def test_a_name_is_looked_up_anew_after_a_while(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    async def end(peer: Peer, body: bytes) -> None:
        await peer.send(b"HTTP/1.0 200 OK\r\n\r\n" + body)
        peer.close()

    names = Names(monkeypatch, "127.0.0.1")
    async with serve(*[end] * 9) as server, client(clock) as send:
        asking = Client(send, server.url.with_host("twilio.test"))
        for body in (b"1", b"2", b"3"):
            assert await asking.ask(body) == (200, body)
        assert names.asked == 1
        names.addresses = ()
        clock.advance(NAMES_HOLD)
        assert await asking.ask(b"4") == "not written"
        names.addresses = ("127.0.0.1",)
        assert await asking.ask(b"5") == (200, b"5")
        assert names.asked == 3
