"""`dispatcher run`."""

import os

from dispatcher.cli.console import ConfigOption


def run(config: ConfigOption) -> None:
    """Dispatch: read jobs from Kafka and send them to Twilio, each sender exactly at its rate.

    SIGTERM or Ctrl-C stops it: what is in flight comes back first, and its outcome is kept. A second one leaves at
    once; messages in flight then have no outcome yet.

    Examples:
        dispatcher run -c configs/staging.yaml
        DISPATCHER_CONFIG=/etc/dispatcher.yaml dispatcher run
    """
    from dispatcher.app import process, worker
    from dispatcher.clock import SystemClock
    from dispatcher.config.load import load_from
    from dispatcher.telemetry import logs

    settings = load_from(config, os.environ)
    logs.configure()
    process.run(lambda stop: worker.run_worker(settings, SystemClock(), stop))
