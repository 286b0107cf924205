"""Posts forms over kept connections at a tenth of what a full HTTP client costs: callbacks come two to a message."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from dispatcher.simulator.retry_policy import Failure

# Twilio's own: https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
_CONNECT_SECONDS: Final = 5.0
_READ_SECONDS: Final = 15.0


class _Connection(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Poster:
    """Keeps what connections it opened, by where they lead; each carries one request at a time."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, str], list[_Connection]] = defaultdict(list)

    async def post(self, url: str, form: bytes, headers: Mapping[str, str]) -> Failure | None:
        """Post *form* to *url*, which has no fragment, and return how that failed."""
        scheme, netloc, path, query, _ = urlsplit(url)
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        target = f"{path or '/'}?{query}" if query else path or "/"
        request = (
            f"POST {target} HTTP/1.1\r\nHost: {netloc}\r\n{lines}"
            f"Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\nContent-Length: {len(form)}\r\n\r\n"
        ).encode() + form
        idle = self._idle[scheme, netloc]
        while idle:
            connection = idle.pop()
            # The server may have closed it since; what it didn't answer at all goes over another one.
            if (status := await self._exchange(connection, request, idle)) is not None:
                return _failure(status)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                connection = await _connect(scheme, netloc)
        except OSError:
            return "ct"
        status = await self._exchange(connection, request, idle)
        return "rt" if status is None else _failure(status)

    def close(self) -> None:
        """Drop the connections that carry nothing now."""
        for connections in self._idle.values():
            for connection in connections:
                connection.writer.transport.abort()

    @staticmethod
    async def _exchange(connection: _Connection, request: bytes, idle: list[_Connection]) -> int | None:
        """Return the status that answers *request*; None for no answer. The connection is idle again or gone."""
        reader, writer = connection
        is_kept = False
        try:
            async with asyncio.timeout(_READ_SECONDS):
                writer.write(request)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                status = int(head[9:12])
                length = _length(head, status)
                if length is not None:
                    await reader.readexactly(length)
                    is_kept = b"\r\nconnection: close" not in head
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            return None
        finally:
            if is_kept:
                idle.append(connection)
            else:
                writer.transport.abort()
        return status


async def _connect(scheme: str, netloc: str) -> _Connection:
    url = urlsplit(f"{scheme}://{netloc}")
    is_tls = scheme == "https"
    reader, writer = await asyncio.open_connection(
        url.hostname, url.port or (443 if is_tls else 80), ssl=is_tls or None
    )
    return _Connection(reader, writer)


def _length(head: bytes, status: int) -> int | None:
    """Return how long the body behind *head* (in lower case) is; None where only reading it would tell."""
    if status in {204, 304}:
        return 0
    _, found, rest = head.partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0]) if found else None


def _failure(status: int) -> Failure | None:
    match status // 100:
        case 2:
            return None
        case 5:
            return "5xx"
        case _:
            return "4xx"
