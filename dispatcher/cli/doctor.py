"""`dispatcher doctor`: is the world as the config says?"""

import json
import os

import typer

from dispatcher.cli.console import ConfigOption, JsonOption


def doctor(*, config: ConfigOption, json_output: JsonOption = False) -> None:
    """Look at the world that the config speaks of: Kafka and its topics, the accounts, their senders.

    Changes nothing. Twilio is asked a few times a second at most. Exits with 2 when something is not as it should be.

    Examples:
        dispatcher doctor -c configs/production.yaml
        dispatcher doctor -c configs/staging.yaml --json
    """
    import asyncio

    from dispatcher.app.doctor import Finding, examine_world
    from dispatcher.clock import SystemClock
    from dispatcher.config.load import load_from

    settings = load_from(config, os.environ)
    findings: list[Finding] = []

    async def examine() -> None:
        async for finding in examine_world(settings, SystemClock()):
            findings.append(finding)
            if not json_output:
                typer.echo(f"{finding.subject}: {finding.trouble or 'fine'}")

    asyncio.run(examine())
    if json_output:
        typer.echo(json.dumps([{"subject": one.subject, "trouble": one.trouble or None} for one in findings], indent=2))
    if any(finding.trouble for finding in findings):
        raise typer.Exit(2)
