"""One connection on the wire: writes a request, reads its answer, and knows whether it may carry another."""

# ruff: noqa: D102 - asyncio and httptools say what the methods mean that they call

import asyncio
import select
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, cast

import httptools

from dispatcher.transport.exchange import LARGEST_BODY, LARGEST_HEAD, Done, NoReplyError, Outcome, Reply
from dispatcher.transport.timer_wheel import Timed

# What is no body counts as head: interim answers, chunks' sizes, trailers. Who sends more wants our memory.
_LARGEST_ANSWER = LARGEST_HEAD + LARGEST_BODY
_CONTINUE, _OK = 100, 200


class Connection(Timed):
    """A connection that carries one exchange at a time; the pool owns it.

    *free* is called when it may carry the next one, just before `done` hears of the last, and *gone* when it is closed.
    After any doubt about where an answer ends it is closed: what follows would be taken for the answer to another.
    The parser, which judges what is HTTP, calls the `on_` methods while it is fed. It would call one for each header,
    too, so there is none: headers are read when somebody asks.

    It is a protocol to asyncio, but no `asyncio.Protocol`: what has a parent that is not compiled is slower itself.
    """

    __slots__ = (
        "_body",
        "_came",
        "_done",
        "_free",
        "_gone",
        "_is_last",
        "_outcome",
        "_parser",
        "_poll",
        "_tag",
        "_transport",
        "is_open",
        "on_body",
    )

    def __init__(
        self, sock: socket.socket, *, free: Callable[["Connection"], None], gone: Callable[["Connection"], None]
    ) -> None:
        super().__init__()
        self.is_open = False
        self._free = free
        self._gone = gone
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._done: Done | None = None
        self._tag: Any = None
        # All that came since the last outcome, and what of it is body. What comes in one piece is not copied.
        self._came = b""
        self._body: list[bytes] = []
        self._outcome: Outcome | None = None
        self._is_last = False
        self.on_body = self._body.append
        self._parser: Any = httptools.HttpResponseParser(self)

    def may_carry(self) -> bool:
        """Say whether a request may be written now: not when the other side has closed, or spoken unasked.

        The kernel is asked, since the loop may not have read that yet. A request that is written then would be in
        doubt, or get an answer that was not meant for it.
        """
        return self.is_open and not self._poll.poll(0)

    def write(self, request: bytes, tag: Any, done: Done) -> None:
        """Write *request*, and call *done* with what comes of it.

        It reaches the kernel within this call, over TLS too, but for what the kernel does not take.
        """
        self._tag = tag
        self._done = done
        self._transport.write(request)

    def expire(self) -> None:
        """Close: the answer takes too long, or nothing was asked for too long."""
        self.fail("no answer in time")

    def close(self) -> None:
        """Close without a word to `done`; by a reset, so that the kernel sends nothing more (`wire_dial`)."""
        self._done = self._tag = None
        if self.is_open:
            self.is_open = False
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        if self._done is None:
            self.close()  # nothing was asked
            return
        self._came += data
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._refuse("what came is not HTTP")
            if isinstance(error, httptools.HttpParserCallbackError):
                _raise_in_the_loop(error)
        if self._outcome is not None:
            self._conclude()
        elif len(self._came) > (_LARGEST_ANSWER if self._body else LARGEST_HEAD):
            self.fail("the answer is too large")

    def eof_received(self) -> None:
        """Take the end of the connection for the end of an answer that does not say where it ends."""
        if self._done is None:
            self.close()
        elif _AnswerHead(self._came).is_whole_and_leaves_the_end_open():
            tls = self._transport.get_extra_info("ssl_object")
            if tls is None or _is_signed_off(tls):
                self.on_message_complete()
                self._is_last = True
                self._conclude()

    def pause_writing(self) -> None:
        """Go on: what the kernel does not take is looked for when the answer comes."""

    def resume_writing(self) -> None:
        """Go on."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone(self)
        self._parser = None  # which knows us: nothing else would free the two but a collection
        cause = "" if exc is None else f" ({type(exc).__name__})"
        self.fail(f"the connection broke before the whole answer came{cause}")

    def on_message_begin(self) -> None:
        self._is_last = self._outcome is not None  # of what follows the answer, we asked for nothing

    def on_message_complete(self) -> None:
        if self._outcome is not None:
            return
        status = self._parser.get_status_code()
        body = b"".join(self._body)
        size = len(self._came)
        if size > LARGEST_HEAD and (size - len(body) > LARGEST_HEAD or len(body) > LARGEST_BODY):
            self._refuse("the answer is too large")
        elif status >= _OK:
            self._is_last = not self._parser.should_keep_alive()
            self._outcome = Reply(status, _Headers(self._came), body)
        elif status < _CONTINUE:  # after 101 no HTTP follows: the parser raises
            self._refuse(f"the answer's status is {status}")

    def _refuse(self, why: str) -> None:
        """Take what came for no answer, unless there is one already, and let nothing follow it."""
        self._is_last = True
        self._outcome = self._outcome or NoReplyError(why)

    def fail(self, why: str) -> None:
        """Close: no whole answer comes any more, for this reason."""
        if self._done is None:
            self.close()
        else:
            self._refuse(why)
            self._conclude()

    def _conclude(self) -> None:
        """Tell the outcome. Whoever hears of it may send the next request at once, over this connection."""
        done: Any = self._done
        tag, outcome = self._tag, self._outcome
        self._done = self._tag = self._outcome = None
        self._came = b""
        self._body.clear()
        # An answer may come before all of the request was taken: nobody knows then what the rest would do.
        if self._is_last or self._transport.get_write_buffer_size():
            self.close()
        else:
            self._free(self)
        try:
            done(tag, outcome)
        except Exception as bug:  # noqa: BLE001 - it is raised, elsewhere
            _raise_in_the_loop(bug)


class _Headers:
    """The headers of the answer in *came*, which are read when somebody asks: of most answers nobody does."""

    __slots__ = ("_came",)

    def __init__(self, came: bytes) -> None:
        self._came = came

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(_AnswerHead(self._came).headers)


class _AnswerHead:
    """The head of the answer in *came*: not those of interim answers before it, nor trailers and whatever follows."""

    def __init__(self, came: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self._is_whole = False
        self._parser: Any = httptools.HttpResponseParser(self)
        with suppress(httptools.HttpParserError, httptools.HttpParserUpgrade):  # what follows may be anything
            self._parser.feed_data(came)
        self._parser = None  # which knows us, too

    def is_whole_and_leaves_the_end_open(self) -> bool:
        """Say whether only the end of the connection can end the answer."""
        ends = {b"content-length", b"transfer-encoding"}
        return self._is_whole and not any(name.lower() in ends for name, _ in self.headers)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_whole:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if not self._is_whole:
            self._is_whole = self._parser.get_status_code() >= _OK
            if not self._is_whole:
                self.headers.clear()


def _raise_in_the_loop(bug: Exception) -> None:
    """Raise *bug* where it ends the process: of what a protocol's method raises, loops only log, or not even that."""

    def raise_it() -> None:
        raise bug

    asyncio.get_running_loop().call_soon(raise_it)


def _is_signed_off(tls: ssl.SSLObject) -> bool:
    """Say whether the other side has ended *tls* itself: asyncio's loop tells of a cut as of an end."""
    try:
        return not tls.read(1)
    except ssl.SSLError:
        return False
