import asyncio
import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.transport.exchange import NoReplyError, Outcome, Reply
from dispatcher.transport.wire import Connection
from dispatcher.transport.wire_tls import TlsTransport

CERTIFICATE = Path(__file__).parents[2] / "fixtures" / "tls" / "localhost.pem"


class Server:
    """The server's end of a connection in memory, which is what the client's socket is, too."""

    def __init__(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.is_aborted = False
        self.is_shaken = False

    def write(self, data: bytes) -> None:
        self.incoming.write(data)

    def abort(self) -> None:
        self.is_aborted = True

    @staticmethod
    def get_write_buffer_size() -> int:
        return 0

    def shake_hands(self) -> None:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.is_shaken = True

    def says(self, records: Iterable[bytes]) -> bytes:
        """Return what goes over the network when the server writes *records*."""
        for record in records:
            self.tls.write(record)
        return self.outgoing.read()


def in_pieces(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    rest = iter(data)
    pieces = [bytes(islice(rest, size)) for size in sizes]
    return [piece for piece in (*pieces, bytes(rest)) if piece]


def connected() -> tuple[Server, TlsTransport, Connection]:
    """Return both ends, with what shaking hands takes behind them and the server's tickets unread."""
    server = Server()
    context = ssl.create_default_context(cafile=CERTIFICATE)
    with socket.socket() as sock:
        connection = Connection(sock, free=lambda _: None, gone=lambda _: None)
    layer = TlsTransport(connection, context, "localhost")
    raw: Any = server
    layer.connection_made(raw)
    for _ in range(2):
        server.shake_hands()
        if not layer.shaken.done():
            layer.data_received(server.outgoing.read())
    assert server.is_shaken
    return server, layer, connection


@settings(max_examples=100, deadline=None)
@given(
    body=st.integers(0, 60_000),
    records=st.lists(st.integers(1, 20_000), max_size=6),
    pieces=st.lists(st.integers(1, 30_000) | st.integers(1, 40), max_size=12),
)
def test_an_answer_is_whole_however_it_is_cut_into_records_and_those_into_pieces(
    body: int, records: list[int], pieces: list[int]
) -> None:
    async def exchange() -> tuple[bytes, list[Outcome]]:
        server, layer, connection = connected()
        told: list[Outcome] = []
        connection.write(b"POST / HTTP/1.1\r\n\r\n", None, lambda _, outcome: told.append(outcome))
        asked = server.tls.read()
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (body, b"x" * body)
        *early, last = in_pieces(server.says(in_pieces(answer, records)), pieces)
        for piece in early:
            layer.data_received(piece)
        assert not told
        layer.data_received(last)
        assert connection.is_open
        assert not server.is_aborted
        return asked, told

    asked, (reply,) = asyncio.run(exchange())
    assert asked == b"POST / HTTP/1.1\r\n\r\n"
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (200, b"x" * body)


@pytest.mark.parametrize(
    "forged", [b"\x17\x03\x03\x00\x13" + bytes(19), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]
)
async def test_what_is_not_signed_is_no_answer(forged: bytes) -> None:
    server, layer, connection = connected()
    told: list[Outcome] = []
    connection.write(b"POST / HTTP/1.1\r\n\r\n", None, lambda _, outcome: told.append(outcome))
    layer.data_received(forged)
    assert [str(outcome) for outcome in told] == ["what came is not TLS"]
    assert (connection.is_open, server.is_aborted) == (False, True)


async def test_who_says_goodbye_and_keeps_the_socket_open_is_not_waited_for() -> None:
    server, layer, connection = connected()
    told: list[Outcome] = []
    connection.write(b"POST / HTTP/1.1\r\n\r\n", None, lambda _, outcome: told.append(outcome))
    server.tls.read()
    early = server.says([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n..."])
    with suppress(ssl.SSLWantReadError):
        server.tls.unwrap()
    layer.data_received(early + server.outgoing.read())
    assert server.is_aborted
    layer.connection_lost(None)  # as the loop does when the transport is aborted
    assert [type(outcome) for outcome in told] == [NoReplyError]
