"""The page that Prometheus and Kubernetes read: `/metrics`, `/healthz`, `/readyz`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.settings import Listen
from dispatcher.telemetry.metrics import registry


@asynccontextmanager
async def metrics_page(
    listen: Listen | Path, *, measure: Callable[[], None], is_ready: Callable[[], bool]
) -> AsyncIterator[None]:
    """Serve this process's metrics; *measure* sets the gauges before each reading."""

    async def render() -> bytes:
        measure()
        # Rendering thousands of series takes longer than a beat of the pacing: not on the loop.
        return await asyncio.to_thread(generate_latest, registry)

    async def unready() -> str:
        return "" if is_ready() else "no partitions yet"

    async with serve_page(listen, render=render, unready=unready):
        yield


@asynccontextmanager
async def serve_page(
    listen: Listen | Path, *, render: Callable[[], Awaitable[bytes]], unready: Callable[[], Awaitable[str]]
) -> AsyncIterator[None]:
    """Serve what *render* returns at an address or, for this machine alone, at the path of a socket.

    *unready* says why the process is not ready; the empty text means that it is.
    """

    async def show_metrics(_request: web.Request) -> web.Response:
        return web.Response(body=await render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def show_alive(_request: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def show_ready(_request: web.Request) -> web.Response:
        reason = await unready()
        return web.Response(text=f"{reason or 'ready'}\n", status=503 if reason else 200)

    app = web.Application()
    app.add_routes([web.get("/metrics", show_metrics), web.get("/healthz", show_alive), web.get("/readyz", show_ready)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = (
            web.UnixSite(runner, listen) if isinstance(listen, Path) else web.TCPSite(runner, listen.host, listen.port)
        )
        try:
            await site.start()
        except OSError as error:
            raise DispatcherError(
                f"cannot listen on metrics.listen {listen}: {error.strerror}; stop what does, or take another port"
            ) from error
        yield
    finally:
        await runner.cleanup()
