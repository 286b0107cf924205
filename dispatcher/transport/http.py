"""Opens the HTTP client that all requests to one place share: our own on the wire, or aiohttp's."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal
from urllib.request import getproxies, proxy_bypass

import structlog
from yarl import URL

from dispatcher.clock import Clock
from dispatcher.transport.exchange import Head, NoReplyError, NotWrittenError, Outcome, Reply, Send
from dispatcher.transport.wire_client import open_wire

log = structlog.get_logger()


@asynccontextmanager
async def open_http(
    transport: Literal["wire", "aiohttp"],
    base_url: str,
    *,
    request_timeout: float,
    clock: Clock,
    may_write: Callable[[], bool] = lambda: True,
) -> AsyncIterator[Send]:
    """Yield what sends requests, by *transport*; by aiohttp, too, where the environment names a proxy for *base_url*.

    A request gets its answer within *request_timeout* seconds, or none. *may_write* is asked in the moment before a
    request with a body is written, when a connection has been found: finding one may take seconds. The number of
    connections is not limited here.
    """
    proxy = _proxy_for(URL(base_url))
    if transport == "wire" and proxy is None:
        async with open_wire(request_timeout=request_timeout, may_write=may_write, clock=clock) as send:
            yield send
        return
    from dispatcher.transport.session import open_session  # noqa: PLC0415 - only where it is used

    if proxy is not None:
        log.info("requests go by aiohttp, through the environment's proxy", proxy=proxy.host)
    async with open_session(request_timeout=request_timeout, may_write=may_write, trust_env=proxy is not None) as send:
        yield send


async def ask(send: Send, head: Head, body: bytes = b"") -> Reply:
    """Send one request and return its answer; `ExchangeError` when there is none."""
    answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    send(head, body, answered, _settle)
    outcome = await answered
    if isinstance(outcome, NotWrittenError | NoReplyError):
        raise outcome
    return outcome


def _settle(answered: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not answered.done():  # whoever asked may have left
        answered.set_result(outcome)


def _proxy_for(url: URL) -> URL | None:
    """Return the proxy that `HTTPS_PROXY` or `HTTP_PROXY` names, unless `NO_PROXY` names the host."""
    proxy = getproxies().get(url.scheme)
    if proxy is None or url.host is None or proxy_bypass(url.host):
        return None
    return URL(proxy)
