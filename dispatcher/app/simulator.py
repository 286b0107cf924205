"""Runs Twilio's stand-in as a process, and says at the end what it saw."""

import asyncio
import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from dispatcher.clock import Clock
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.settings import Listen, Settings
from dispatcher.simulator.server import open_simulator

_HTTP_PORT: Final = 80
# Wide enough for every column where no terminal sets a bound.
_PIPE_WIDTH: Final = 200


async def serve(
    settings: Settings, clock: Clock, stop: asyncio.Event, *, console: Console, allow_remote: bool = False
) -> None:
    """Answer at `twilio.base_url` until *stop* is set, then print the report.

    Refuses an address that other machines can reach, unless *allow_remote*.
    """
    listen = _where_to_listen(settings.twilio.base_url, allow_remote=allow_remote)
    try:
        async with open_simulator(settings.fleet, settings.simulator, listen=listen, clock=clock) as simulator:
            console.print(f"Twilio's stand-in answers at {simulator.url}; Ctrl-C ends it.")
            with _collecting_seldom():
                await stop.wait()
            report = simulator.report()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DispatcherError(
            f"the simulator cannot listen at {listen} ({reason}); free the port or change twilio.base_url"
        ) from error
    print_report(report, console)


def print_report(report: dict[str, Any], console: Console) -> None:
    """Print what `GET /_simulator/report` answers as tables; wider ones where no terminal is."""
    if not console.is_terminal:
        console = Console(file=console.file, width=_PIPE_WIDTH, highlight=False)
    rows = dict(report["senders"])
    rows |= {f"{number} mms": flow for number, flow in report["media"].items()}
    for campaign, carriers in report["campaigns"].items():
        rows |= {f"{campaign}/{carrier}": flow for carrier, flow in carriers.items()}
    senders = _table("sender", "rate/s", "achieved", "messages", "segments", "in 1 s", "in 100 ms", "queue", names=rows)
    senders.caption = "Segments: the most in any 1 s and any 100 ms; the deepest queue."
    senders.caption_justify = "left"
    for name, flow in rows.items():
        counts = (flow[key] for key in ("messages", "segments", "peak_1s", "peak_100ms"))
        queue = "" if flow["deepest_seconds"] is None else f"{flow['deepest_seconds']:.2f} s"
        senders.add_row(name, _number(flow["rate"]), _number(flow["achieved_rate"]), *map(_number, counts), queue)
    accounts = _table("account", "requests", "at once", "messages in 1 s", "refusals", names=report["accounts"])
    for name, account in report["accounts"].items():
        counts = (account[key] for key in ("requests", "concurrency_peak", "peak_messages_1s"))
        refusals = ", ".join(f"{count} x {code}" for code, count in account["refusals"].items()) or "none"
        accounts.add_row(name, *map(_number, counts), refusals)
    for table in (senders, accounts):
        console.print(table)
        console.print()
    twice = report["texted_twice"]["texts"]
    console.print(f"{report['messages']:,} messages accepted, {twice:,} of them for a second time.")


def _where_to_listen(base_url: str, *, allow_remote: bool) -> Listen:
    """Return the address in *base_url*."""
    url = urlsplit(base_url)
    host = url.hostname or ""
    if url.scheme != "http":
        raise DispatcherError(
            f"the simulator speaks plain HTTP, but twilio.base_url is {base_url}; "
            'write an address of this machine, like "http://127.0.0.1:8090"'
        )
    if not allow_remote and not is_loopback(host):
        raise DispatcherError(
            f"twilio.base_url is {base_url}, which other machines may reach; "
            'write "http://127.0.0.1:8090" or the like, or allow it with --allow-remote'
        )
    return Listen(host=host, port=_HTTP_PORT if url.port is None else url.port)


def is_loopback(host: str) -> bool:
    """Say whether *host* is this machine, for itself alone."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def _collecting_seldom() -> Iterator[None]:
    """Keep the garbage collector from pausing for long, since a pause bunches what arrives meanwhile.

    What there is at the start stays out of its sight, and what has lived through two collections is not looked at
    again: messages are no garbage, and the collector doesn't track them.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 1_000_000)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def _table(*columns: str, names: Iterable[str]) -> Table:
    """Return an empty table whose first column has room for all *names*; 80 characters are enough for it."""
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    table.add_column(columns[0], no_wrap=True, min_width=max(map(len, names), default=0))
    for column in columns[1:]:
        table.add_column(column, justify="left" if column == "refusals" else "right", no_wrap=column != "refusals")
    return table


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}".rstrip("0").rstrip(".")
