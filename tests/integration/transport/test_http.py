"""The HTTP session over real sockets."""

import asyncio
import socket

import aiohttp
import pytest

from dispatcher.transport.http import FenceClosedError, make_session


async def test_a_request_is_given_up_with_a_reset_so_that_the_kernel_sends_no_more_of_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        async with make_session(0.1) as session:
            with pytest.raises(aiohttp.SocketTimeoutError):
                await session.post(f"http://{host}:{port}/", data=b"Body=Hello")
        await asyncio.sleep(0)  # transports close with the loop's next turn
        connection, _ = server.accept()
        with connection, pytest.raises(ConnectionResetError):
            list(iter(lambda: connection.recv(65536), b""))


async def test_a_request_is_not_written_when_the_fence_has_closed_since_the_connection_was_found() -> None:
    answers = iter([True, False])
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        async with make_session(5.0, lambda: next(answers)) as session:
            with pytest.raises(aiohttp.SocketTimeoutError):
                await session.post(f"http://{host}:{port}/", data=b"a", timeout=aiohttp.ClientTimeout(sock_read=0.1))
            with pytest.raises(FenceClosedError):
                await session.post(f"http://{host}:{port}/", data=b"b")
        await asyncio.sleep(0)  # transports close with the loop's next turn
        connections = [server.accept()[0] for _ in range(2)]
        assert [connection.recv(65536)[-1:] for connection in connections[:1]] == [b"a"]
        with connections[1], pytest.raises(ConnectionResetError):
            connections[1].recv(65536)
        connections[0].close()
