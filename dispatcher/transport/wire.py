"""One connection on the wire: writes a request, reads its answer, and knows whether it may carry another."""

# ruff: noqa: D102 - asyncio and httptools say what the methods mean that they call

import asyncio
import select
import socket
import ssl
from collections.abc import Callable
from math import inf
from typing import Any, cast

import httptools

from dispatcher.transport.exchange import LARGEST_BODY, LARGEST_HEAD, Done, NoReplyError, Outcome, Reply

# With its chunks' sizes and trailers; who sends more wants us to run out of memory.
_LARGEST_ANSWER = 2 * (LARGEST_HEAD + LARGEST_BODY)
_CONTINUE, _SWITCHING_PROTOCOLS, _OK = 100, 101, 200


class Connection(asyncio.Protocol):
    """A connection that carries one exchange at a time; the pool owns it.

    *free* is called when it may carry the next one, just before `done` hears of the last, and *gone* when it is closed.
    After any doubt about where an answer ends it is closed: what follows would be taken for the answer to another.
    The parser, which judges what is HTTP, calls the `on_` methods while it is fed. *deadline* and *looked_at* are the
    timer wheel's.
    """

    __slots__ = (
        "_body",
        "_body_size",
        "_done",
        "_fed",
        "_free",
        "_gone",
        "_has_head",
        "_head",
        "_headers",
        "_is_last",
        "_is_whole",
        "_parser",
        "_poll",
        "_status",
        "_tag",
        "_transport",
        "_trouble",
        "deadline",
        "is_open",
        "looked_at",
    )

    def __init__(
        self, sock: socket.socket, *, free: Callable[["Connection"], None], gone: Callable[["Connection"], None]
    ) -> None:
        self.is_open = False
        self.deadline = self.looked_at = inf
        self._free = free
        self._gone = gone
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._parser = httptools.HttpResponseParser(self)
        self._done: Done | None = None
        self._tag: Any = None

    def may_carry(self) -> bool:
        """Say whether a request may be written now: not when the other side has closed, or spoken unasked.

        The kernel is asked, since the loop may not have read that yet. A request that is written then would be in
        doubt, or get an answer that was not meant for it.
        """
        return self.is_open and not self._poll.poll(0)

    def write(self, request: bytes, tag: Any, done: Done) -> None:
        """Write *request*, and call *done* with what comes of it.

        It reaches the kernel within this call: neither asyncio nor uvloop 0.23 puts off more than what the kernel does
        not take, over TLS either.
        """
        self._tag = tag
        self._done = done
        self._status = self._fed = self._body_size = 0
        self._head: list[tuple[bytes, bytes]] = []
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._has_head = self._is_whole = self._is_last = False
        self._trouble = ""
        self._transport.write(request)

    def expire(self) -> None:
        """Close: the answer takes too long, or nothing was asked for too long."""
        self._fail("no answer in time")

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
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._is_last = True  # the answer may be whole, and what follows it wrong
            self._trouble = self._trouble or "what came is not HTTP"
            if isinstance(error, httptools.HttpParserCallbackError):
                _raise_in_the_loop(error)
        if self._is_whole:
            self._conclude()
        elif self._trouble:
            self._fail(self._trouble)
        elif self._fed > (_LARGEST_ANSWER if self._has_head else LARGEST_HEAD):
            self._fail("the answer is too large")

    def eof_received(self) -> None:
        """Take the end of the connection for the end of an answer that does not say where it ends."""
        if self._done is None:
            self.close()
        elif self._has_head and not _says_where_it_ends(self._head):
            tls = self._transport.get_extra_info("ssl_object")
            if tls is None or _is_signed_off(tls):
                self._is_last = True
                self._conclude()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone(self)
        del self._parser  # which knows us: nothing else would free the two but a collection
        cause = "" if exc is None else f" ({type(exc).__name__})"
        self._fail(f"the connection broke before the whole answer came{cause}")

    def on_message_begin(self) -> None:
        if self._is_whole:
            self._is_last = True  # of this, we asked for nothing

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._is_whole:
            return
        self._check_size()
        self._status = self._parser.get_status_code()
        if self._status >= _OK:
            self._has_head = True
            self._head, self._headers = self._headers, []  # from here on trailers, which mean nothing to us
        elif self._status < _CONTINUE or self._status == _SWITCHING_PROTOCOLS:
            self._trouble = f"the answer's status is {self._status}"
        else:
            self._headers.clear()

    def on_body(self, data: bytes) -> None:
        self._body_size += len(data)
        if self._body_size > LARGEST_BODY:
            self._trouble = "the answer's body is too large"
        elif not self._is_whole:
            self._body.append(data)

    def on_message_complete(self) -> None:
        self._check_size()
        if self._has_head and not self._trouble:
            self._is_last = self._is_last or not self._parser.should_keep_alive()
            self._is_whole = True

    def _check_size(self) -> None:
        """See that headers, or trailers, are not too large: they can't be while all that came is not."""
        # With ": " and the line's end.
        if self._fed > LARGEST_HEAD and sum(len(name) + len(value) + 4 for name, value in self._headers) > LARGEST_HEAD:
            self._trouble = "the answer's head is too large"

    def _conclude(self) -> None:
        """Tell the answer. Whoever hears of it may send the next request at once, over this connection."""
        reply = Reply(self._status, self._head, b"".join(self._body))
        tag, done = self._tag, cast(Done, self._done)
        self._tag = self._done = None
        # An answer may come before all of the request was taken: nobody knows then what the rest would do.
        if self._is_last or self._transport.get_write_buffer_size():
            self.close()
        else:
            self._free(self)
        _tell(done, tag, reply)

    def _fail(self, why: str) -> None:
        tag, done = self._tag, self._done
        self.close()
        if done is not None:
            _tell(done, tag, NoReplyError(why))


def _tell(done: Done, tag: Any, outcome: Outcome) -> None:
    try:
        done(tag, outcome)
    except Exception as bug:  # noqa: BLE001 - it is raised, elsewhere
        _raise_in_the_loop(bug)


def _raise_in_the_loop(bug: Exception) -> None:
    """Raise *bug* where it ends the process: of what a protocol's method raises, loops only log, or not even that."""

    def raise_it() -> None:
        raise bug

    asyncio.get_running_loop().call_soon(raise_it)


def _says_where_it_ends(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name.lower() in {b"content-length", b"transfer-encoding"} for name, _ in headers)


def _is_signed_off(tls: ssl.SSLObject) -> bool:
    """Say whether the other side has ended *tls* itself: asyncio's loop tells of a cut as of an end."""
    try:
        return not tls.read(1)
    except ssl.SSLError:
        return False
