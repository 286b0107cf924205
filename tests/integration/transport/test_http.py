"""The HTTP session over real sockets."""

import asyncio
import socket

import aiohttp
import pytest

from dispatcher.transport.http import make_session


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
