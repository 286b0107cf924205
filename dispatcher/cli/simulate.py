"""`dispatcher simulate`: Twilio's stand-in."""

from typing import Annotated

import typer

from dispatcher.cli.console import ConfigOption


def simulate(
    config: ConfigOption,
    *,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Listen where other machines can reach it, too.")
    ] = False,
) -> None:
    """Stand in for Twilio at `twilio.base_url`, with the accounts and senders of the config.

    Answers as Twilio's Messages API does, drains each sender's queue at its rate, and sends signed status callbacks
    to this machine. GET /_simulator/report says what it saw; so does a table at the end. Ends on Ctrl-C.

    Examples:
        dispatcher simulate -c staging.yaml
    """
    import os

    from dispatcher.app.process import run
    from dispatcher.app.simulator import serve
    from dispatcher.cli.console import stdout
    from dispatcher.clock import SystemClock
    from dispatcher.config.load import load

    settings = load(config, os.environ)

    run(lambda stop: serve(settings, SystemClock(), stop, console=stdout(), allow_remote=allow_remote))
