"""The pool and its connections, against a server of hypothesis's, without a network."""

import asyncio
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from dispatcher.transport.exchange import Head, NotWrittenError, Outcome, Reply
from dispatcher.transport.timer_wheel import TimerWheel
from dispatcher.transport.wire import Connection
from dispatcher.transport.wire_pool import Free, Pool
from tests.clock import FakeClock

HEAD = Head("POST", URL("http://twilio.test/"), {})
Draw = Callable[[st.SearchStrategy[Any]], Any]
# Tags so far from each other that no mutation makes one of another.
FORMS = ["length", "chunks", "until the end"]
TAGS = [f"{number}".encode() * 9 for number in range(10)]


class Line(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection
        self.written = b""
        self.is_up = True
        connection.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert self.is_up
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: object = None) -> object:
        del name
        return default

    def abort(self) -> None:
        self.lose(None)

    def lose(self, error: Exception | None) -> None:
        if self.is_up:
            self.is_up = False
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, error)


class World:
    """A pool, the lines it has opened, and what each request was told."""

    def __init__(self, stack: AsyncExitStack, tasks: asyncio.TaskGroup) -> None:
        self.lines: list[Line] = []
        self.told: defaultdict[bytes, list[Outcome]] = defaultdict(list)
        self.sent: set[bytes] = set()
        self.dialled = 0
        self.may_connect = asyncio.Event()
        self.may_connect.set()
        self.refuses = False
        self.may_write = True
        self.then: bytes | None = None
        self._stack = stack
        self.pool = Pool(
            self._dial, TimerWheel(FakeClock()), tasks, request_timeout=20.0, may_write=lambda: self.may_write
        )

    async def _dial(self, free: Free, gone: Free) -> Connection:
        self.dialled += 1
        await self.may_connect.wait()
        if self.refuses:
            raise ConnectionRefusedError
        ours, theirs = (self._stack.enter_context(end) for end in socket.socketpair())
        del theirs
        self.lines.append(Line(Connection(ours, free=free, gone=gone)))
        return self.lines[-1].connection

    def send(self, tag: bytes) -> None:
        self.sent.add(tag)
        self.pool.send(HEAD, tag, tag, self._done)

    def line_of(self, tag: bytes) -> Line | None:
        return next((line for line in self.lines if line.written.endswith(tag)), None)

    def _done(self, tag: bytes, outcome: Outcome) -> None:
        self.told[tag].append(outcome)
        if self.then is not None:
            tag, self.then = self.then, None
            self.send(tag)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def answer(tag: bytes, form: str) -> bytes:
    if form == "length":
        return b"HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(tag), tag)
    if form == "chunks":
        return (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3;a=b\r\n%b\r\n%x\r\n%b\r\n0\r\nSeen: yes\r\n\r\n" % (tag[:3], len(tag) - 3, tag[3:])
        )
    return b"HTTP/1.1 201 Created\r\nConnection: close\r\n\r\n%b" % tag


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(changed)))
        until = place + draw(st.integers(0, 12))
        match draw(st.sampled_from(["replace", "insert", "delete", "cut", "repeat"])):
            case "replace":
                changed[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
            case "insert":
                changed[place:place] = draw(st.sampled_from([b"\r\n", b"0", b"\0", b":", b" ", b"\r\n\r\n", b"\xff"]))
            case "delete":
                del changed[place:until]
            case "cut":
                del changed[place:]
            case _:
                changed += changed[place:]
    return bytes(changed)


@st.composite
def pieces(draw: st.DrawFn, data: bytes) -> list[bytes]:
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if start < end]


async def answer_rudely(world: World, tag: bytes, following: bytes | None, draw: Draw) -> None:
    """Let the server answer the request *tag*, if it was written, in its own way; *following* may be sent meanwhile."""
    line = world.line_of(tag)
    if line is None:
        return
    whole = draw(mutated(answer(tag, draw(st.sampled_from(FORMS)))))
    parts = draw(pieces(whole))
    if following is not None and draw(st.booleans()):
        # What comes with this answer, behind it, must not be taken for the next one's.
        world.then, parts = following, [whole]
    for part in parts:
        if line.is_up:
            line.connection.data_received(part)
    world.then = None
    end = draw(st.sampled_from(["stay", "end", "lose"]))
    if line.is_up and end == "end":
        line.connection.eof_received()
    if line.is_up and (end != "stay" or not world.told[tag]):
        line.lose(ConnectionResetError())


async def play(world: World, draw: Draw) -> None:
    for tag, following in zip(TAGS, [*TAGS[1:], None], strict=True):
        world.refuses = draw(st.integers(0, 9)) == 9
        world.may_write = draw(st.integers(0, 9)) < 9
        if tag not in world.sent:
            world.send(tag)
        await settle()
        world.may_write = True
        await answer_rudely(world, tag, following, draw)
        await settle()
    for line in world.lines:
        line.lose(None)
    await settle()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_a_server_does_each_request_is_told_once_and_what_is_its_own(data: st.DataObject) -> None:
    async def run() -> World:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            world = World(stack, tasks)
            await play(world, data.draw)
        return world

    raised: list[object] = []
    world = asyncio.run(run())
    assert not raised
    assert {tag: len(world.told[tag]) for tag in TAGS} == dict.fromkeys(TAGS, 1)
    for tag in TAGS:
        outcome = world.told[tag][0]
        assert any(tag in line.written for line in world.lines) != isinstance(outcome, NotWrittenError)
        if isinstance(outcome, Reply):
            assert not any(other in outcome.body for other in TAGS if other != tag)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        world = World(stack, tasks)
        yield world
        world.pool.close()


async def test_a_request_that_another_connection_took_is_not_told_of_its_own_that_was_refused(world: World) -> None:
    first, second = TAGS[:2]
    world.send(first)
    await settle()
    world.refuses = True
    world.send(second)
    world.lines[0].connection.data_received(answer(first, "length"))
    assert world.lines[0].written.endswith(second)
    await settle()
    assert second not in world.told
    world.lines[0].connection.data_received(answer(second, "length"))
    assert isinstance(world.told[second][0], Reply)


async def test_whoever_waits_longest_is_told_that_a_connection_was_refused(world: World) -> None:
    world.refuses = True
    for tag in TAGS[:2]:
        world.send(tag)
    await settle()
    assert [tag for tag, told in world.told.items() if isinstance(told[0], NotWrittenError)] == TAGS[:2]


async def test_a_closed_fence_lets_nobody_wait_for_ever(world: World) -> None:
    world.may_write = False
    for tag in TAGS:
        world.send(tag)
    assert not world.told  # never from within `send`
    await settle()
    assert {tag: type(told[0]) for tag, told in world.told.items()} == dict.fromkeys(TAGS, NotWrittenError)
    world.may_write = True
    world.told.clear()
    world.send(TAGS[0])
    assert any(line.written.endswith(TAGS[0]) for line in world.lines)


async def test_no_more_connections_are_opened_than_there_are_requests_at_once(world: World) -> None:
    world.send(TAGS[0])
    await settle()
    world.may_connect.clear()
    for tag, following in pairwise(TAGS):
        # While one is under way another waits: for this line, or for the one that is being opened.
        world.send(following)
        await settle()
        world.lines[0].connection.data_received(answer(tag, "length"))
    assert world.dialled == 2


async def test_a_connection_that_has_closed_is_forgotten(world: World) -> None:
    world.send(TAGS[0])
    await settle()
    world.lines[0].connection.data_received(answer(TAGS[0], "length"))
    assert len(world.pool._idle) == len(world.pool._connections) == 1
    world.lines[0].lose(None)
    await settle()
    assert len(world.pool._idle) == len(world.pool._connections) == 0
