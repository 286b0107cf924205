"""The words of an HTTP exchange: what is asked, what came back, and how sure it is that nothing did."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from multidict import CIMultiDict
from yarl import URL

# Below what servers and load balancers keep open: a POST on a connection that was just closed is in doubt.
KEEP_ALIVE = 15.0
# Finding the address, connecting and TLS together, over all addresses of a host.
CONNECT_TIMEOUT = 5.0
LARGEST_HEAD = 32 * 1024
LARGEST_BODY = 1024 * 1024
_BODILESS = frozenset({"GET", "DELETE"})
# The answer to HEAD has no body whatever its head says, and after CONNECT it is no HTTP any more.
_METHODS = _BODILESS | {"POST", "PUT", "PATCH"}


class Origin(NamedTuple):
    """Where a connection goes."""

    host: str
    port: int
    is_tls: bool


class Head:
    """A request but for its body, prepared once for many bodies.

    `Host` and the body's length are added to *headers*. `ValueError` when something in it would break the lines.
    """

    __slots__ = ("_bytes", "headers", "method", "origin", "url")

    def __init__(self, method: str, url: URL, headers: Mapping[str, str]) -> None:
        if method not in _METHODS or url.scheme not in {"http", "https"} or not url.raw_host or not url.port:
            raise ValueError(f"{method} to such a URL is no request of ours")
        lines = [
            f"{method} {url.raw_path_qs} HTTP/1.1",
            f"Host: {url.host_port_subcomponent}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        if any(set("\r\n\0") & set(line) for line in lines):
            raise ValueError("a header with a line break would be two")
        self.method = method
        self.url = url
        self.headers = CIMultiDict(headers)
        self.origin = Origin(url.raw_host, url.port, url.scheme == "https")
        self._bytes = "\r\n".join(lines).encode("latin-1")

    def with_body(self, body: bytes) -> bytes:
        """Return the request as it goes over the wire."""
        if not body and self.method in _BODILESS:
            return self._bytes + b"\r\n\r\n"
        return b"%b\r\nContent-Length: %d\r\n\r\n%b" % (self._bytes, len(body), body)


class Reply:
    """A whole answer; 1xx ones and redirects are nobody's business here. *headers* may be read anew at each look."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def header(self, name: bytes) -> bytes | None:
        """Return the first header called *name*, which is in lower case."""
        return next((value for found, value in self.headers if found.lower() == name), None)


class ExchangeError(Exception):
    """There is no answer; the text says why to a person."""


class NotWrittenError(ExchangeError):
    """Not a byte of the request was given to the network: it can be sent again."""


class NoReplyError(ExchangeError):
    """The request, or a part of it, may have arrived, but no whole answer came."""


Outcome = Reply | NotWrittenError | NoReplyError
# Called once a request, from the event loop and never from within `send`, with the tag that was given along.
Done = Callable[[Any, Outcome], None]


class Send(Protocol):
    """All that a client is to those who use it."""

    def __call__(self, head: Head, body: bytes, tag: Any, done: Done) -> None:
        """Send a request at once; *done* hears of it, with *tag*."""
