"""One suite for both HTTP clients: what a caller is told of each way in which a server may misbehave."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal

import pytest

from dispatcher.clock import SystemClock
from dispatcher.transport.exchange import LARGEST_BODY, LARGEST_HEAD, Head, Send
from dispatcher.transport.http import ask, open_http
from tests.integration.transport.rude import Client, Peer, RudeServer, Script, echo, serve, turns

Kind = Literal["wire", "aiohttp"]
KINDS: tuple[Kind, ...] = ("wire", "aiohttp")

SID = b'{"sid":"SM1"}'
CREATED = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n" + SID
CHUNKED = (
    b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nTrailer: Seen\r\n\r\n"
    b'7;of=2\r\n{"sid":\r\n6\r\n"SM1"}\r\n0\r\nSeen: twice\r\n\r\n'
)
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG = b"x" * (LARGEST_HEAD + 1)

Told = tuple[int, bytes] | str
NO_REPLY = "no reply"
NOT_TRIED = "not tried"


def client(
    kind: Kind, server: RudeServer, *, request_timeout: float = 60.0, may_write: Callable[[], bool] = lambda: True
) -> AbstractAsyncContextManager[Send]:
    return open_http(kind, str(server.url), request_timeout=request_timeout, clock=SystemClock(), may_write=may_write)


def says(*pieces: bytes, then: Literal["stay", "close", "reset"] = "stay") -> Script:
    async def script(peer: Peer, _: bytes) -> None:
        await peer.send(*pieces)
        if then == "close":
            peer.close()
        elif then == "reset":
            peer.reset()

    return script


@dataclass(frozen=True, slots=True)
class Aiohttp:
    """What aiohttp tells instead, and why we leave it so."""

    told: Told
    because: str
    second: Told = (200, b"second")
    serves_on: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """What a server does, what the caller is told of it, and whether the connection serves the next request."""

    name: str
    script: Script
    told: Told
    serves_on: bool = False
    aiohttp: Aiohttp | None = None


CASES = [
    Case("an answer that says how long it is", says(CREATED), (201, SID), True),
    Case("an empty one", says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), (200, b""), True),
    Case("one that can have no body", says(b"HTTP/1.1 204 No Content\r\n\r\n"), (204, b""), True),
    Case("one in chunks, with an extension and a trailer", says(CHUNKED), (201, SID), True),
    Case("100 Continue before it", says(b"HTTP/1.1 100 Continue\r\n\r\n" + CREATED), (201, SID), True),
    Case("103 Early Hints, then it", says(b"HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n", CREATED), (201, SID), True),
    Case("a redirect", says(b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"), (302, b""), True),
    Case("no reason", says(b"HTTP/1.1 429 \r\nContent-Length: 2\r\n\r\n{}"), (429, b"{}"), True),
    Case("a packed body", says(CREATED.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")), (201, SID), True),
    Case(
        "the largest body",
        says(CREATED.replace(b" 13", b" 1048576"), b"x" * (1048576 - 13)),
        (201, SID + b"x" * (1048576 - 13)),
        True,
    ),
    Case("the last answer", says(CREATED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")), (201, SID)),
    Case("HTTP/1.0", says(CREATED.replace(b"/1.1", b"/1.0")), (201, SID)),
    Case(
        "HTTP/1.0 that stays",
        says(CREATED.replace(b"/1.1", b"/1.0").replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")),
        (201, SID),
        True,
    ),
    Case("HTTP/1.0 until it closes", says(b"HTTP/1.0 200 OK\r\n\r\n", SID, then="close"), (200, SID)),
    Case("HTTP/1.1 until it closes", says(b"HTTP/1.1 200 OK\r\n\r\n", SID, then="close"), (200, SID)),
    Case(
        "a reset where the end of the connection would be that of the answer",
        says(b"HTTP/1.1 200 OK\r\n\r\n", SID, then="reset"),
        NO_REPLY,
        aiohttp=Aiohttp((200, SID), "it takes a reset for an end; Twilio says how long its answers are"),
    ),
    Case("an answer, and the connection closed behind it", says(CREATED, then="close"), (201, SID)),
    Case("an answer, and the connection reset behind it", says(CREATED, then="reset"), (201, SID)),
    Case("a second answer with it", says(CREATED + CREATED), (201, SID)),
    Case(
        "a second answer behind it",
        says(CREATED, CREATED),
        (201, SID),
        aiohttp=Aiohttp(
            (201, SID),
            "it reads what comes unasked as the next answer: a reason to have the wire client",
            second=(201, SID),
            serves_on=True,
        ),
    ),
    Case(
        "rubbish with it",
        says(CREATED + b"x"),
        (201, SID),
        aiohttp=Aiohttp(NO_REPLY, "it reads on before it tells: in doubt, and looked up"),
    ),
    Case("rubbish behind it", says(CREATED, b"x"), (201, SID)),
    Case(
        "more body than it said",
        says(CREATED.replace(b" 13", b" 12")),
        (201, SID[:12]),
        aiohttp=Aiohttp(NO_REPLY, "same"),
    ),
    Case("less body than it said", says(CREATED.replace(b" 13", b" 14"), then="close"), NO_REPLY),
    Case("no answer, but the end", says(then="close"), NO_REPLY),
    Case("no answer, but a reset", says(then="reset"), NO_REPLY),
    Case("only an interim answer", says(b"HTTP/1.1 100 Continue\r\n\r\n", then="close"), NO_REPLY),
    Case("no HTTP", says(b"220 mail.example.com ESMTP\r\n"), NO_REPLY),
    Case("a status of two digits", says(CREATED.replace(b"201", b"20")), NO_REPLY),
    Case(
        "a status below all",
        says(CREATED.replace(b"201", b"099")),
        NO_REPLY,
        aiohttp=Aiohttp((99, SID), "it takes any status, and the verdict is the same: in doubt", serves_on=True),
    ),
    Case(
        "another protocol",
        says(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + CREATED),
        NO_REPLY,
        aiohttp=Aiohttp((101, b""), "same"),
    ),
    Case(
        "another protocol without its name",
        says(b"HTTP/1.1 101 Switching\r\n\r\n" + CREATED),
        NO_REPLY,
        aiohttp=Aiohttp((101, b""), "same", serves_on=True),
    ),
    Case(
        "a status below all until it closes",
        says(b"HTTP/1.1 099 Low\r\n\r\n", SID, then="close"),
        NO_REPLY,
        aiohttp=Aiohttp((99, b""), "same"),
    ),
    Case(
        "interim answers, then one until it closes",
        says(b"HTTP/1.1 103 Hints\r\nContent-Length: 0\r\n\r\n" * 2 + b"HTTP/1.1 200 OK\r\n\r\n" + SID, then="close"),
        (200, SID),
    ),
    Case("a header without a colon", says(CREATED.replace(b"\r\n\r\n", b"\r\nHello\r\n\r\n")), NO_REPLY),
    Case("two lengths", says(CREATED.replace(b"\r\n\r\n", b"\r\nContent-Length: 12\r\n\r\n")), NO_REPLY),
    Case("a length below zero", says(CREATED.replace(b" 13", b" -1")), NO_REPLY),
    Case("a length that is no number", says(CREATED.replace(b" 13", b" 0xd")), NO_REPLY),
    Case("a length that nobody can count", says(CREATED.replace(b" 13", b" " + b"9" * 30)), NO_REPLY),
    Case("a length, and chunks", says(CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 13\r\n\r\n", 1)), NO_REPLY),
    Case("a chunk whose size is no number", says(CHUNKS + b"{}\r\n"), NO_REPLY),
    Case("a chunk whose size nobody can count", says(CHUNKS + b"f" * 30 + b"\r\n{}\r\n"), NO_REPLY),
    Case("a chunk that is longer than it said", says(CHUNKS + b"1\r\n{}\r\n0\r\n\r\n"), NO_REPLY),
    Case("chunks without an end", says(CHUNKS + b"2\r\n{}\r\n", then="close"), NO_REPLY),
    Case("a head too large", says(CREATED.replace(b"\r\n\r\n", b"\r\nA: " + LONG + b"\r\n\r\n")), NO_REPLY),
    Case(
        "a head too large, in many lines",
        says(CREATED.replace(b"\r\n\r\n", b"\r\nA: bcdefgh" * 4000 + b"\r\n\r\n")),
        NO_REPLY,
    ),
    Case("a head that never ends", says(b"HTTP/1.1 201 Created\r\nA: ", *[LONG] * 4), NO_REPLY),
    Case(
        "interim answers without an end",
        says(b"HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n" * 4000),
        NO_REPLY,
        aiohttp=Aiohttp(NOT_TRIED, "it bounds them by nothing but the time-out of a read"),
    ),
    Case("a trailer too large", says(CHUNKED.replace(b"twice", LONG)), NO_REPLY),
    Case("a body too large", says(CREATED.replace(b" 13", b" 2097152"), *[b"x" * (1 << 16)] * 32), NO_REPLY),
    Case(
        "chunks whose sizes are larger than a head",
        says(CHUNKS + b"1\r\nx\r\n" * 10_000 + b"0\r\n\r\n"),
        NO_REPLY,
        aiohttp=Aiohttp((200, b"x" * 10_000), "it bounds the body alone", serves_on=True),
    ),
    Case("chunks too large", says(CHUNKS, *[b"40000\r\n" + b"x" * 0x40000 + b"\r\n"] * 5, b"0\r\n\r\n"), NO_REPLY),
    Case(
        "a body too large until it closes",
        says(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * (LARGEST_BODY + 1), then="close"),
        NO_REPLY,
    ),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_what_a_caller_is_told(kind: Kind, case: Case) -> None:
    expected = case.aiohttp if kind == "aiohttp" and case.aiohttp else Aiohttp(case.told, "", serves_on=case.serves_on)
    if expected.told == NOT_TRIED:
        pytest.skip(expected.because)
    async with serve(case.script) as server:
        async with client(kind, server) as send:
            asking = Client(send, server)
            assert await asking.ask(b"first") == expected.told
            await turns(10)  # what stands behind the answer is read
            assert await asking.ask(b"second") == expected.second
            assert len(server.peers) == (1 if expected.serves_on else 2)
        assert [len(told) for told in asking.told.values()] == [1, 1]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answers_headers_are_those_of_its_own_head(kind: Kind) -> None:
    hints = b"HTTP/1.1 103 Hints\r\nRetry-After: 1\r\n\r\n"
    refusal = (
        b"HTTP/1.1 429 Too Many\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nRetry-After: 2\r\n\r\n"
    )
    whole = hints + refusal
    ways = [*((whole[:size], whole[size:]) for size in range(len(whole))), (bytes([byte]) for byte in whole)]
    if kind == "wire":
        # What follows the answer is not the answer's; aiohttp reads on before it tells.
        switching = b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
        ways += [(whole + b"x",), (whole + hints + refusal,), (whole + switching,)]
    async with serve(*(says(*pieces) for pieces in ways)) as server, client(kind, server) as send:
        for _ in ways:
            reply = await ask(send, Head("POST", server.url, {}), b"first")
            assert list(reply.headers) == [(b"A", b"b"), (b"Transfer-Encoding", b"chunked")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("whole", [CREATED, CHUNKED], ids=["length", "chunks"])
async def test_an_answer_may_come_in_any_two_pieces_and_byte_by_byte(kind: Kind, whole: bytes) -> None:
    ways = [*((whole[:size], whole[size:]) for size in range(len(whole))), (bytes([byte]) for byte in whole)]
    async with serve(*(says(*pieces) for pieces in ways)) as server, client(kind, server) as send:
        asking = Client(send, server)
        for number in range(len(ways)):
            assert await asking.ask(b"%d" % number) == (201, SID)
        assert len(server.peers) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("whole", [CREATED, CHUNKED], ids=["length", "chunks"])
async def test_an_answer_that_ends_early_is_none(kind: Kind, then: Literal["close", "reset"], whole: bytes) -> None:
    scripts = [script for size in range(len(whole)) for script in (says(whole[:size], then=then), echo)]
    async with serve(*scripts) as server, client(kind, server) as send:
        asking = Client(send, server)
        for size in range(len(whole)):
            assert await asking.ask(b"first-%d" % size) == NO_REPLY, whole[:size]
            assert await asking.ask(b"second-%d" % size) == (200, b"second-%d" % size)
        assert {len(told) for told in asking.told.values()} == {1}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("begun", [b"", CREATED[:-1]], ids=["silence", "a begun answer"])
async def test_what_gets_no_answer_in_time_is_given_up_with_a_reset(kind: Kind, begun: bytes) -> None:
    ends: list[type[BaseException]] = []

    async def stall(peer: Peer, _: bytes) -> None:
        await peer.send(begun)
        try:
            await peer.some()
        except (EOFError, ConnectionResetError) as end:
            ends.append(type(end))
            raise

    async with serve(stall) as server, client(kind, server, request_timeout=0.2) as send:
        asking = Client(send, server)
        assert await asking.ask(b"first") == NO_REPLY
        assert await asking.ask(b"second") == (200, b"second")
        assert ends == [ConnectionResetError]
        assert len(asking.told[b"first"]) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_request_is_not_written_when_the_fence_has_closed(kind: Kind) -> None:
    may_write = iter([True, False, False, True])
    async with serve() as server, client(kind, server, may_write=lambda: next(may_write)) as send:
        asking = Client(send, server)
        assert await asking.ask(b"first") == (200, b"first")
        assert [await asking.ask(body) for body in (b"second", b"third")] == ["not written"] * 2
        assert await asking.ask(b"fourth") == (200, b"fourth")
        assert [body for peer in server.peers for body in peer.asked] == [b"first", b"fourth"]
        assert {len(told) for told in asking.told.values()} == {1}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_request_that_finds_nobody_is_not_written(kind: Kind) -> None:
    async with serve() as server:
        pass
    async with client(kind, server) as send:
        assert await Client(send, server).ask(b"first") == "not written"


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_may_come_before_the_request_is_read(kind: Kind) -> None:
    async def answer_early(peer: Peer, _: bytes) -> None:
        await peer.begun()
        await peer.send(CREATED)

    async with serve(answer_early, at_once=True) as server, client(kind, server) as send:
        asking = Client(send, server)
        assert await asking.ask(b"first") == (201, SID)
        await turns(10)
        if kind == "wire":  # with aiohttp, what the server echoes once it has read the first may answer the second
            assert await asking.ask(b"second") == (200, b"second")


@pytest.mark.parametrize("kind", KINDS)
async def test_what_comes_before_a_request_is_no_answer_to_it(kind: Kind) -> None:
    async with serve(says(CREATED), at_once=True) as server, client(kind, server) as send:
        # aiohttp takes it for one.
        assert await Client(send, server).ask(b"first") == ("not written" if kind == "wire" else (201, SID))


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@pytest.mark.parametrize("kind", KINDS)
async def test_no_other_request_follows_one_that_was_answered_before_all_of_it_was_taken(kind: Kind) -> None:
    async def answer_early(peer: Peer, _: bytes) -> None:
        await peer.some()
        await peer.send(CREATED)
        await asyncio.Event().wait()

    async with serve(answer_early, at_once=True) as server, client(kind, server) as send:
        asking = Client(send, server)
        assert await asking.ask(b"x" * (1 << 25)) == (201, SID)
        assert await asking.ask(b"second") == (200, b"second")
        assert len(server.peers) == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_a_connection_that_was_closed_just_now_is_not_used(kind: Kind) -> None:
    async with serve() as server, client(kind, server) as send:
        asking = Client(send, server)
        assert await asking.ask(b"first") == (200, b"first")
        server.peers[0].sock.shutdown(socket.SHUT_WR)  # which the loop has not read when the next is sent
        told = await asking.ask(b"second")
        # aiohttp believes its loop, and the request may be in doubt.
        assert told == (200, b"second") or (kind == "aiohttp" and told == NO_REPLY)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_came_unasked_is_nobodys_answer(kind: Kind) -> None:
    async with serve() as server, client(kind, server) as send:
        asking = Client(send, server)
        assert await asking.ask(b"first") == (200, b"first")
        server.peers[0].sock.send(CREATED)  # which the loop has not read when the next is sent
        # aiohttp takes it for the answer.
        assert await asking.ask(b"second") == ((200, b"second") if kind == "wire" else (201, SID))
