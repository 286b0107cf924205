"""`dispatcher run`."""

import os
import sys
from typing import Annotated

import typer

from dispatcher.cli.console import ConfigOption


def run(
    config: ConfigOption,
    workers: Annotated[
        int,
        typer.Option("--workers", min=1, max=64, metavar="N", help="Processes to share the work; one fills a core."),
    ] = 1,
) -> None:
    """Dispatch: read jobs from Kafka and send them to Twilio, each sender exactly at its rate.

    SIGTERM or Ctrl-C stops it: what is in flight comes back first, and its outcome is kept. A second one leaves at
    once; messages in flight then have no outcome yet.

    While it runs it follows the config file: rates, senders, pools and limits hold within a second of the save. An edit
    that is wrong, or needs a restart, is refused as a whole; the log says why, and what held before stays.

    With --workers, that many processes share the jobs and every rate; rates hold for all of them together. One that
    dies is started again. metrics.listen shows the metrics of all, by the label worker, and is ready when all are.

    Examples:
        dispatcher run -c configs/staging.yaml
        dispatcher run -c configs/production.yaml --workers 4
        DISPATCHER_CONFIG=/etc/dispatcher.yaml dispatcher run
    """
    from dispatcher.app import process
    from dispatcher.app.post import Post
    from dispatcher.clock import SystemClock
    from dispatcher.config.load import load
    from dispatcher.telemetry import logs

    post = Post.taken(os.environ)
    clock = SystemClock()
    if workers == 1:
        from dispatcher.app.dispatching import run_worker
        from dispatcher.app.live_config import LiveConfig

        live = LiveConfig(config, os.environ, clock)
        logs.configure(json=post.json_logs if post else None)
        page = post.socket if post else None
        process.run(lambda stop: run_worker(live.settings, clock, stop, page=page, live=live), insisting=post is None)
        return
    from random import Random

    from dispatcher.app.supervisor import supervise

    settings = load(config, os.environ)
    logs.configure(json=post.json_logs if post else None)
    command = (sys.executable, "-m", "dispatcher", "run", "-c", str(config))
    random = Random()  # noqa: S311 - jitter, not secrets
    process.run(lambda stop: supervise(settings, command, workers=workers, clock=clock, random=random, stop=stop))
