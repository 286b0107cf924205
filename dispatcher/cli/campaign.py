"""`dispatcher campaign`: see how far campaigns are; pause, resume and cancel them."""

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dispatcher.cli.console import ConfigOption, JsonOption, operator, quiet_kafka
from dispatcher.cli.progress import showing_progress
from dispatcher.domain.duration import format_duration

if TYPE_CHECKING:
    from datetime import datetime

    from dispatcher.app.campaigns import Change, Look

_Name = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="The campaign's name.", show_default=False)]
_Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="Why; whoever looks at it reads that.")]
_Unknown = Annotated[
    bool, typer.Option("--unknown", help="Also when its jobs were not published by `dispatcher publish`.")
]
_MOST_CODES = 10


def list_(config: ConfigOption, *, json_output: JsonOption = False) -> None:
    """List the campaigns, the latest first, with who decided about them.

    Examples:
        dispatcher campaign list -c production.yaml
        dispatcher campaign list -c production.yaml --json
    """
    import asyncio

    from dispatcher.app.campaigns import list_campaigns
    from dispatcher.clock import SystemClock
    from dispatcher.config.load import load_from

    quiet_kafka()
    clock = SystemClock()
    looks = asyncio.run(list_campaigns(load_from(config, os.environ), clock))
    now = clock.now()
    if json_output:
        typer.echo(json.dumps([_fields(look, now) for look in looks], indent=2))
        return
    if not looks:
        typer.echo("No campaigns yet: `dispatcher publish` makes one")
    width = max((len(look.name) for look in looks), default=0)
    for look in looks:
        order = f" {look.record.order}" if look.record.order else ""
        recipients = f"{look.record.begun.recipients:>10,}" if look.record.begun else f"{'?':>10}"
        typer.echo(f"{look.name:<{width}}  {look.state(now):<9} {recipients} recipients{order}")


def show(config: ConfigOption, campaign: _Name, *, json_output: JsonOption = False) -> None:
    """Show how far a campaign is: counted from its results, so it takes a while for millions.

    Examples:
        dispatcher campaign show -c production.yaml spring
        dispatcher campaign show -c production.yaml spring --json
    """
    import asyncio

    from dispatcher.app.campaigns import show_campaign
    from dispatcher.clock import SystemClock
    from dispatcher.config.load import load_from

    quiet_kafka()
    clock = SystemClock()
    settings = load_from(config, os.environ)
    with showing_progress(clock) as say:
        look = asyncio.run(
            show_campaign(settings, clock, campaign, progress=lambda done, total: say("Counting results", done, total))
        )
    now = clock.now()
    typer.echo(json.dumps(_fields(look, now), indent=2) if json_output else "\n".join(_lines(look, now)))


def pause(
    config: ConfigOption, campaign: _Name, *, why: _Why = "", unknown: _Unknown = False, json_output: JsonOption = False
) -> None:
    """Pause a campaign. Comes back when every worker obeys: from then on only what was in flight arrives.

    Examples:
        dispatcher campaign pause -c production.yaml spring
        dispatcher campaign pause -c production.yaml spring --why "the link in it is wrong"
    """
    from dispatcher.control.campaigns import pause as change

    workers = _change(config, campaign, change, why=why, unknown=unknown)
    _say(
        campaign, "paused", "nothing of it leaves until `dispatcher campaign resume`", workers, json_output=json_output
    )


def resume(
    config: ConfigOption, campaign: _Name, *, why: _Why = "", unknown: _Unknown = False, json_output: JsonOption = False
) -> None:
    """Let a campaign that was paused, or published as a draft, go on where it was.

    Examples:
        dispatcher campaign resume -c production.yaml spring
    """
    from dispatcher.control.campaigns import resume as change

    workers = _change(config, campaign, change, why=why, unknown=unknown)
    _say(campaign, "running", "it goes on where it was", workers, json_output=json_output)


def cancel(
    config: ConfigOption, campaign: _Name, *, why: _Why = "", unknown: _Unknown = False, json_output: JsonOption = False
) -> None:
    """Cancel a campaign for good: each message that has not left gets a result that says so.

    Comes back when every worker obeys: from then on only what was in flight arrives.

    Examples:
        dispatcher campaign cancel -c production.yaml spring --why "sold out"
    """
    from dispatcher.control.campaigns import cancel as change

    workers = _change(config, campaign, change, why=why, unknown=unknown)
    _say(campaign, "cancelled", "what has not left gets the result `cancelled`", workers, json_output=json_output)


def _change(config: Any, campaign: str, change: "Change", *, why: str, unknown: bool) -> list[str]:
    import asyncio

    from dispatcher.app.campaigns import change_campaign
    from dispatcher.clock import SystemClock
    from dispatcher.config.load import load_from
    from dispatcher.domain.control import Order

    quiet_kafka()
    clock = SystemClock()
    settings = load_from(config, os.environ)
    order = Order(by=operator(), at=clock.now(), why=why)
    return asyncio.run(change_campaign(settings, clock, campaign, change, order, unknown=unknown))


def _say(campaign: str, state: str, meaning: str, workers: list[str], *, json_output: bool) -> None:
    if json_output:
        typer.echo(json.dumps({"campaign": campaign, "state": state, "workers": workers}, indent=2))
        return
    who = f"{len(workers)} workers obey" if len(workers) != 1 else "1 worker obeys"
    typer.echo(f"{campaign} is {state}: {meaning} ({who if workers else 'no worker runs'})")


def _fields(look: "Look", now: "datetime") -> dict[str, Any]:
    record, begun, progress = look.record, look.record.begun, look.progress
    order = record.order
    fields: dict[str, Any] = {
        "campaign": look.name,
        "state": look.state(now),
        "by": order.by if order else None,
        "at": order.at.isoformat() if order else None,
        "why": order.why if order else None,
        "rate_limit": record.rate,
        "pool": begun.pool if begun else None,
        "recipients": begun.recipients if begun else None,
        "published": look.is_published if begun else None,
        "waits_for": look.waits_for(now) or None,
    }
    if progress is not None:
        left = progress.seconds_left(begun.recipients) if begun else None
        fields |= {
            "done": progress.done,
            "results": dict(progress.statuses),
            "codes": {str(code): count for code, count in progress.codes.most_common()},
            "segments": progress.segments,
            "per_second": round(progress.rate, 1),
            "seconds_left": None if left is None or look.waits_for(now) == "" else round(left, 1),
        }
    return fields


def _lines(look: "Look", now: "datetime") -> list[str]:
    record, begun, progress = look.record, look.record.begun, look.progress
    order = f" {record.order}" if record.order else ""
    lines = [f"{look.name}: {look.state(now)}{order}"]
    if progress is None:
        return lines
    if begun is not None:
        share = progress.done / begun.recipients if begun.recipients else 1.0
        publishing = "" if look.is_published else "; publishing is not complete"
        lines.append(f"Progress: {progress.done:,} of {begun.recipients:,} have a result ({share:.0%}){publishing}")
    else:
        lines.append(
            f"Progress: {progress.done:,} have a result; how many there are is not known (published elsewhere)"
        )
    for status, count in progress.statuses.most_common():
        lines.append(f"  {status}: {count:,}")
    for code, count in progress.codes.most_common(_MOST_CODES):
        lines.append(f"  Twilio's code {code}: {count:,}")
    lines.append(f"Cost: {progress.segments:,} segments so far")
    if progress.recent:
        lines.append(f"Rate: {progress.rate:,.1f} results a second in the last minute")
    left = progress.seconds_left(begun.recipients) if begun is not None else None
    if waits := look.waits_for(now):
        if left:
            lines.append(f"Left: {format_duration(left)} at this rate")
        lines.append(f"Waits for: {waits}")
    return lines


COMMANDS: dict[Callable[..., None], str] = {
    list_: "Every campaign and its state.",
    show: "How far a campaign is, and what it waits for.",
    pause: "Let nothing of a campaign leave for now.",
    resume: "Let a paused campaign, or a draft, go on.",
    cancel: "End a campaign for good.",
}
