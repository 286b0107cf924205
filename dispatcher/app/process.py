"""Runs one asyncio program as a well-behaved process: uvloop, signals, one sentence for what went wrong."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from dispatcher.domain.errors import DispatcherError

# 128 + SIGINT: what a shell reports for a program ended by Ctrl-C.
LEFT_AT_ONCE = 130


def run(main: Callable[[asyncio.Event], Coroutine[Any, Any, None]], *, insisting: bool = True) -> None:
    """Run *main* with an event that the first SIGTERM or SIGINT sets; the second one leaves at once.

    Not *insisting*, a second one says nothing new: systemd sends SIGTERM to a supervisor and its workers alike, and the
    supervisor passes its own on.

    Raises the error that ended it, taken out of its exception groups: a `DispatcherError` where there is one. An
    exception in a callback of the loop, which asyncio would only log, ends it too.
    """
    bugs: list[BaseException] = []
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_with_signals(main, bugs, insisting=insisting))
    except BaseExceptionGroup as group:
        raise _reason(group) from group
    except asyncio.CancelledError:
        if bugs:
            raise bugs[0] from None
        raise


async def _with_signals(
    main: Callable[[asyncio.Event], Coroutine[Any, Any, None]], bugs: list[BaseException], *, insisting: bool
) -> None:
    stop = asyncio.Event()
    running = asyncio.current_task()

    def on_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)
        # Without a handle it is a library's task that nobody asked about: no reason to leave.
        if "handle" in context and "exception" in context and running is not None:
            bugs.append(context["exception"])
            running.cancel()

    def on_signal() -> None:
        if stop.is_set() and insisting:
            os._exit(LEFT_AT_ONCE)
        stop.set()

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(on_error)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    await main(stop)


def _reason(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Pick what to report: a `DispatcherError` where there is one, else the first leaf."""
    leaves = list(_leaves(group))
    return next((leaf for leaf in leaves if isinstance(leaf, DispatcherError)), leaves[0])


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found
