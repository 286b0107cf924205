import asyncio
import gc
import socket
import weakref
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.transport.wire_dial import make_socket
from dispatcher.transport.wire_socket import SocketTransport


class Protocol:
    """Keeps what it hears, and does something about it."""

    def __init__(self, hears: Callable[[], None] = lambda: None) -> None:
        self.came = b""
        self.heard: list[str] = []
        self.hears = hears
        self.changed = asyncio.Event()
        self.transport: SocketTransport | None = None

    def connection_made(self, transport: SocketTransport) -> None:
        self.transport = transport  # as a connection does
        self.hear("made")

    def data_received(self, data: bytes) -> None:
        self.came += data
        self.hear("data")

    def eof_received(self) -> None:
        self.hear("eof")

    def connection_lost(self, error: Exception | None) -> None:
        self.hear(f"lost ({type(error).__name__})" if error else "lost")

    def hear(self, what: str) -> None:
        self.heard.append(what)
        self.changed.set()
        self.hears()

    async def until(self, what: str) -> None:
        async with asyncio.timeout(10):
            while what not in self.heard:
                self.changed.clear()
                await self.changed.wait()


async def connected(protocol: Protocol) -> tuple[SocketTransport, socket.socket]:
    """Return a transport and the other end of its connection, which has the smallest of buffers."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock = make_socket(socket.AF_INET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        await loop.sock_connect(sock, listener.getsockname())
        peer, _ = listener.accept()
    peer.setblocking(False)
    return SocketTransport(sock, protocol), peer


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=8))
def test_what_the_kernel_does_not_take_at_once_follows_in_order(sizes: list[int]) -> None:
    async def send() -> None:
        loop = asyncio.get_running_loop()
        transport, peer = await connected(Protocol())
        written = b"".join(bytes([number]) * size for number, size in enumerate(sizes))
        with peer:
            for number, size in enumerate(sizes):
                transport.write(bytes([number]) * size)
            left = transport.get_write_buffer_size()
            read = b""
            async with asyncio.timeout(10):
                while len(read) < len(written):
                    read += await loop.sock_recv(peer, 65536)
            assert read == written
            assert left < len(written)
            await asyncio.sleep(0)
            assert transport.get_write_buffer_size() == 0
            transport.abort()

    asyncio.run(send())


async def test_what_comes_is_heard_and_so_is_the_end_once() -> None:
    protocol = Protocol()
    _, peer = await connected(protocol)
    with peer:
        peer.sendall(b"answer")
        await protocol.until("data")
        peer.shutdown(socket.SHUT_WR)
        await protocol.until("lost")
    assert protocol.heard == ["made", "data", "eof", "lost"]
    assert protocol.came == b"answer"


async def test_a_connection_that_is_given_up_is_reset_and_told_of_only_later() -> None:
    protocol = Protocol()
    transport, peer = await connected(protocol)
    with peer:
        transport.abort()
        transport.abort()
        transport.write(b"too late")
        assert protocol.heard == ["made"]
        await protocol.until("lost")
        with pytest.raises(ConnectionResetError):
            await asyncio.get_running_loop().sock_recv(peer, 1)
    assert protocol.heard == ["made", "lost"]


async def test_a_reset_is_heard() -> None:
    protocol = Protocol()
    _, peer = await connected(protocol)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
    await protocol.until("lost (ConnectionResetError)")
    assert protocol.heard == ["made", "lost (ConnectionResetError)"]


async def test_what_can_no_longer_be_written_is_told_after_the_write() -> None:
    protocol = Protocol()
    transport, peer = await connected(protocol)
    peer.close()  # answers what comes with a reset
    async with asyncio.timeout(10):
        while transport.get_write_buffer_size() == 0 and "lost" not in "".join(protocol.heard):
            transport.write(b"x" * 4096)
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert protocol.heard[-1].startswith("lost")
    assert len([what for what in protocol.heard if what.startswith("lost")]) == 1


async def test_who_closes_the_connection_while_it_hears_hears_no_more_of_it_but_that() -> None:
    transports: list[SocketTransport] = []

    def close() -> None:
        for transport in transports:
            transport.abort()

    protocol = Protocol(close)
    transport, peer = await connected(protocol)
    with peer:
        transports.append(transport)
        peer.sendall(b"x" * 100_000)
        await protocol.until("lost")
    assert protocol.heard == ["made", "data", "lost"]


async def test_what_is_closed_is_free_without_a_collection() -> None:
    protocol = Protocol()
    transport, peer = await connected(protocol)
    kept = weakref.ref(protocol)
    gc.disable()
    try:
        transport.abort()
        await protocol.until("lost")
        peer.close()
        del protocol, transport
        assert kept() is None
    finally:
        gc.enable()
