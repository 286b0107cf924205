"""The door to the internet: how many may stand in it, and how long one may say nothing."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError

from dispatcher.telemetry import metrics

# 2,000 callbacks a second need about fifty. Well below the 1,024 files that a process usually may have open.
MOST_CONNECTIONS = 800
# Seconds from connecting to the end of the first request's head, and from then on between requests. Load balancers rest
# for 60 s, and must be the first to close, lest they send into a connection that was closed meanwhile.
HEAD_TIMEOUT = 5.0
KEEP_ALIVE = 75.0
LARGEST_BODY = 64 * 1024
# Who is refused in the middle of sending gets so many seconds to end, and so to see the answer.
_LINGER = 2.0


class Door(web.Server):
    """Hands requests to *handle*, each with a body of up to LARGEST_BODY bytes (more raises aiohttp's 413)."""

    def __init__(self, handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(
            self._enter,
            request_factory=_make_request,
            keepalive_timeout=KEEP_ALIVE,
            lingering_time=_LINGER,
            auto_decompress=False,
            access_log=None,
            logger=_logger(),
        )
        self._handle = handle
        self._silent: dict[web.RequestHandler, asyncio.TimerHandle] = {}

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Let a client in, unless the door is full."""
        super().connection_made(handler, transport)
        if len(self.connections) > MOST_CONNECTIONS:
            metrics.WEBHOOK_CONNECTIONS_REFUSED.inc()
            transport.abort()
            return
        loop = asyncio.get_running_loop()
        self._silent[handler] = loop.call_later(HEAD_TIMEOUT, transport.abort)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Forget a client."""
        self._heard(handler)
        super().connection_lost(handler, exc)

    async def _enter(self, request: web.BaseRequest) -> web.StreamResponse:
        self._heard(request.protocol)
        return await self._handle(request)

    def _heard(self, handler: web.RequestHandler) -> None:
        timer = self._silent.pop(handler, None)
        if timer is not None:
            timer.cancel()


def _make_request(
    message: Any, payload: Any, protocol: web.RequestHandler, writer: Any, task: "asyncio.Task[None]"
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=LARGEST_BODY)


def _logger() -> logging.Logger:
    """Return aiohttp's log without what strangers say: a line of it for each would fill the disk."""
    logger = logging.getLogger("dispatcher.webhooks.door")
    logger.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)))
    return logger
