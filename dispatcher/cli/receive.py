"""`dispatcher receive`."""

import os

from dispatcher.cli.console import ConfigOption


def receive(config: ConfigOption) -> None:
    """Take what Twilio calls back with: status callbacks and inbound messages, each kept before it is answered.

    Listens at `webhooks.listen` for POST /twilio/status and /twilio/inbound. While Kafka is away callbacks are kept
    in the folder `webhooks.spool`, which should outlive the process. SIGTERM or Ctrl-C stops it: who has called is
    answered first. A second one leaves at once.

    Examples:
        dispatcher receive -c configs/staging.yaml
        DISPATCHER_CONFIG=/etc/dispatcher.yaml dispatcher receive
    """
    from dispatcher.app import process, receiver
    from dispatcher.clock import SystemClock
    from dispatcher.config.load import load_from
    from dispatcher.telemetry import logs

    settings = load_from(config, os.environ)
    logs.configure()
    process.run(lambda stop: receiver.run_receiver(settings, SystemClock(), stop))
