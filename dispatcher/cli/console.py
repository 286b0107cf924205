"""What the commands share: the options they all take, and where and how they print."""

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

ConfigOption = Annotated[
    Path,
    typer.Option(
        "-c", "--config", envvar="DISPATCHER_CONFIG", metavar="FILE", help="The config file.", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@cache
def stdout() -> "Console":
    """Return the console for what a command was asked for."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not is_terminal())


@cache
def stderr() -> "Console":
    """Return the console for what is said on the way: progress, notices."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=not is_terminal())


def quiet_kafka() -> None:
    """Let aiokafka say nothing: what it has to say ends in a sentence of ours, or passes by itself.

    So it is with a topic that is still being made.
    """
    import logging

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def is_terminal() -> bool:
    """Say whether a person watches: both streams lead to a terminal. Progress is drawn only then."""
    return sys.stdout.isatty() and sys.stderr.isatty()


def operator() -> str:
    """Return who gives an order, as others see it."""
    import getpass
    import socket

    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container's user may have no name
        return socket.gethostname()
