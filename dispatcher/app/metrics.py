"""The page that Prometheus and Kubernetes read: `/metrics`, `/healthz`, `/readyz`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.settings import Listen
from dispatcher.telemetry.metrics import registry


@asynccontextmanager
async def metrics_page(
    listen: Listen, *, measure: Callable[[], None], is_ready: Callable[[], bool]
) -> AsyncIterator[None]:
    """Serve the page; *measure* sets the gauges before each reading."""

    async def show_metrics(_request: web.Request) -> web.Response:
        measure()
        # Rendering thousands of series takes longer than a beat of the pacing: not on the loop.
        page = await asyncio.to_thread(generate_latest, registry)
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def show_alive(_request: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def show_ready(_request: web.Request) -> web.Response:
        ready = is_ready()
        return web.Response(text="ready\n" if ready else "no partitions yet\n", status=200 if ready else 503)

    app = web.Application()
    app.add_routes([web.get("/metrics", show_metrics), web.get("/healthz", show_alive), web.get("/readyz", show_ready)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, listen.host, listen.port).start()
        except OSError as error:
            raise DispatcherError(
                f"cannot listen on metrics.listen {listen}: {error.strerror}; stop what does, or take another port"
            ) from error
        yield
    finally:
        await runner.cleanup()
