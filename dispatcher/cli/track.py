"""`dispatcher track`."""

import os

from dispatcher.cli.console import ConfigOption


def track(config: ConfigOption) -> None:
    """Follow what becomes of messages after Twilio took them: from callbacks, and by asking where none came.

    Each change of a status goes to the topic `dispatch.deliveries`, each sender's state once a second to
    `dispatch.senders`. All messages, and what they add up to, are in the SQLite file `tracking.database`, which may be
    read meanwhile and is built anew from the topics when it is deleted. One tracker follows everything; it can stop at
    any time and goes on where it was. SIGTERM or Ctrl-C stops it. A second one leaves at once.

    Examples:
        dispatcher track -c configs/staging.yaml
        sqlite3 -readonly tracking.sqlite "SELECT campaign, status, sum(messages) FROM counts GROUP BY 1, 2"
    """
    from dispatcher.app import process, tracker
    from dispatcher.clock import SystemClock
    from dispatcher.config.load import load_from
    from dispatcher.telemetry import logs

    settings = load_from(config, os.environ)
    logs.configure()
    process.run(lambda stop: tracker.run_tracker(settings, SystemClock(), stop))
