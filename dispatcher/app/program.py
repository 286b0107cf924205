"""Other commands of the program, run as processes beside this one."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import aiohttp

from dispatcher.clock import Clock
from dispatcher.domain.errors import DispatcherError

START_TIMEOUT: Final = 30.0
STOP_TIMEOUT: Final = 40.0


@asynccontextmanager
async def program(environ: dict[str, str], *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `dispatcher` with *arguments* in a session of its own, so that Ctrl-C reaches it through us alone."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dispatcher", *arguments, env=environ, start_new_session=True,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def answers(http: aiohttp.ClientSession, url: str, process: asyncio.subprocess.Process, clock: Clock) -> None:
    """Come back when *url* answers, which *process* is to serve; `DispatcherError` when it ends, or takes too long."""
    deadline = clock.monotonic() + START_TIMEOUT
    while clock.monotonic() < deadline:
        if process.returncode is not None:
            raise DispatcherError(f"what should answer at {url} ended early with exit code {process.returncode}")
        with suppress(aiohttp.ClientError):
            async with http.get(url) as response:
                if response.ok:
                    return
        await clock.sleep(0.1)
    raise DispatcherError(f"nothing answered at {url} within {START_TIMEOUT:.0f} s of its start")
