import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from dispatcher.simulator.poster import Poster

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers every request with the next of *answers*, and keeps what came; None ends the connection instead."""

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                answer = self.answers.pop(0)
                if answer is None:
                    break
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    one = Server()
    async with await asyncio.start_server(one.handle, "127.0.0.1", 0) as listening:
        one.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield one


Post = Callable[[str], Awaitable[str | None]]


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    poster = Poster()
    yield lambda url: poster.post(url, b"a=1", {"X-Token": "t"})
    poster.close()


async def test_it_writes_the_request_as_given(server: Server, post: Post) -> None:
    server.answers = [OK]
    assert await post(f"{server.url}/status?mid=a%2Fb&a=1") is None
    assert server.requests == [
        (
            f"POST /status?mid=a%2Fb&a=1 HTTP/1.1\r\nHost: {server.url[7:]}\r\nX-Token: t\r\n"
            "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\nContent-Length: 3\r\n\r\na=1"
        ).encode()
    ]


@pytest.mark.parametrize(("status", "failure"), [(200, None), (204, None), (302, "4xx"), (404, "4xx"), (503, "5xx")])
async def test_the_status_tells_how_it_went(server: Server, post: Post, status: int, failure: str | None) -> None:
    server.answers = [f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode()]
    assert await post(server.url) == failure


async def test_a_connection_is_used_again(server: Server, post: Post) -> None:
    server.answers = [OK, b"HTTP/1.1 204 No Content\r\n\r\n", OK]
    assert [await post(server.url) for _ in range(3)] == [None] * 3
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    ],
)
async def test_a_connection_that_ends_or_whose_end_is_unclear_is_not_used_again(
    server: Server, post: Post, answer: bytes
) -> None:
    server.answers = [answer, OK]
    assert [await post(server.url) for _ in range(2)] == [None] * 2
    assert server.connections == 2


async def test_what_a_closed_connection_did_not_take_goes_over_another(server: Server, post: Post) -> None:
    server.answers = [OK, None, OK]
    assert [await post(server.url) for _ in range(2)] == [None] * 2
    assert server.connections == 2


@pytest.mark.parametrize("answer", [None, b"rubbish\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"])
async def test_no_answer_is_a_failure_to_read(server: Server, post: Post, answer: bytes | None) -> None:
    server.answers = [answer]
    assert await post(server.url) == "rt"


async def test_nobody_there_is_a_failure_to_connect(post: Post) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert await post(f"http://127.0.0.1:{unused.getsockname()[1]}/") == "ct"
