"""`dispatcher publish`: a campaign and its recipients become jobs in Kafka."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dispatcher.cli.console import ConfigOption, JsonOption, is_terminal, quiet_kafka
from dispatcher.cli.progress import showing_progress
from dispatcher.domain.duration import format_duration
from dispatcher.domain.errors import DispatcherError

if TYPE_CHECKING:
    from dispatcher.domain.campaign import Campaign
    from dispatcher.domain.settings import Settings
    from dispatcher.publishing.estimate import Estimate
    from dispatcher.publishing.publisher import Publication
    from dispatcher.publishing.survey import Survey

_INTERRUPTED = 130
_STAGES = {
    "waiting": "Waiting for a sign of life of an earlier run",
    "looking": "Looking for what is published already",
    "publishing": "Publishing",
}


def publish(
    config: ConfigOption,
    campaign: Annotated[Path, typer.Argument(metavar="CAMPAIGN.yaml", help="The campaign file.", show_default=False)],
    *,
    recipients: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Who gets it.", show_default="what the campaign file says"),
    ] = None,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Publish without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be published, and stop.")] = False,
    draft: Annotated[
        bool, typer.Option("--draft", help="Hold it: nothing leaves until `dispatcher campaign resume`.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Publish a campaign: a job for each recipient goes to Kafka, for `dispatcher run` to send.

    Says first how many recipients there are, what they cost in segments, and how long sending them takes. Rows that
    are no jobs, or whose bodies `content` of the config refuses, stop nothing: they go to FILE.rejects.csv, each with
    its line and what is wrong with it. When it is interrupted, the same command goes on: no row is published twice.

    Examples:
        dispatcher publish -c configs/demo.yaml configs/campaigns/spring.yaml
        dispatcher publish -c production.yaml spring.yaml --recipients denver.csv --yes
        dispatcher publish -c production.yaml spring.yaml --dry-run --json
    """
    from dispatcher.config.campaign_file import load_campaign
    from dispatcher.config.load import load_from
    from dispatcher.publishing.estimate import estimate

    settings = load_from(config, os.environ)
    loaded = load_campaign(campaign, settings, os.environ, recipients=recipients)
    found = _survey(loaded, settings)
    pool = settings.fleet.pools[loaded.pool]
    needed = estimate(
        pool,
        settings.fleet,
        found.segments,
        messages=found.recipients,
        throttle=loaded.rate,
        has_media=bool(loaded.media_urls),
    )
    plan = _plan(loaded, found, needed)
    if not json_output:
        typer.echo(_sentences(loaded, found, needed))
    if dry_run or (is_terminal() and not yes and not _confirmed()):
        typer.echo(json.dumps(plan, indent=2) if json_output else "Nothing was published.")
        return
    done = _publish(loaded, found, settings, as_draft=draft)
    if json_output:
        outcome = {"published": done.published, "found": done.found, "complete": done.complete}
        typer.echo(json.dumps(plan | outcome, indent=2))
    else:
        typer.echo(_report(done))
    if not done.complete:
        raise typer.Exit(_INTERRUPTED)


def _confirmed() -> bool:
    try:
        return typer.confirm("Publish it?", err=True)
    except typer.Abort:
        typer.echo("\nNothing was published.", err=True)
        raise typer.Exit(_INTERRUPTED) from None


def _survey(campaign: "Campaign", settings: "Settings") -> "Survey":
    from dispatcher.clock import SystemClock
    from dispatcher.publishing.survey import survey

    try:
        with showing_progress(SystemClock()) as show:
            found = survey(campaign, lambda done, total: show("Reading", done, total), settings.content)
    except KeyboardInterrupt:
        typer.echo("Nothing was published.", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    if not found.rows:
        raise DispatcherError(f"{campaign.recipients} has no rows below its first line; add the recipients")
    if not found.recipients:
        raise DispatcherError(f"no row of {campaign.recipients} is a job; {found.rejects} says why")
    return found


def _publish(campaign: "Campaign", survey: "Survey", settings: "Settings", *, as_draft: bool) -> "Publication":
    import asyncio

    from dispatcher.app.process import run
    from dispatcher.clock import SystemClock
    from dispatcher.publishing.publisher import Publication, publish_campaign

    quiet_kafka()
    done: list[Publication] = []
    clock = SystemClock()

    async def main(stop: asyncio.Event) -> None:
        with showing_progress(clock) as show:
            done.append(
                await publish_campaign(
                    campaign,
                    survey,
                    settings,
                    clock,
                    stop=stop,
                    progress=lambda progress: show(_STAGES[progress.stage], progress.done, progress.total),
                    as_draft=as_draft,
                )
            )

    run(main)
    return done[0]


def _plan(campaign: "Campaign", survey: "Survey", estimate: "Estimate") -> dict[str, Any]:
    return {
        "campaign": campaign.name,
        "pool": campaign.pool,
        "priority": campaign.priority.name,
        "topic": campaign.priority.topic,
        "recipients": survey.recipients,
        "rejected": survey.rejected,
        "rejects_file": str(survey.rejects) if survey.rejected else None,
        "content_warnings": dict(survey.warnings),
        "segments": survey.total_segments,
        "segments_by_encoding": {encoding or "media": count for encoding, count in survey.segments_by_encoding.items()},
        "segments_by_carrier": {carrier or "unknown": count for carrier, count in survey.segments.items()},
        "seconds": round(estimate.seconds, 1),
        "bottleneck": estimate.bottleneck,
    }


def _sentences(campaign: "Campaign", survey: "Survey", estimate: "Estimate") -> str:
    lines = [f"{campaign.name}: {_count(survey.recipients, 'recipient')} through the pool {campaign.pool}"]
    if survey.rejected:
        lines.append(f"Rejected: {_count(survey.rejected, 'row')}; {survey.rejects} says why")
    lines += [
        f"Warning: {_count(warned, 'message')} may be filtered, says the rule {rule} of `content`"
        for rule, warned in sorted(survey.warnings.items())
    ]
    costs = [
        f"{segments:,} in {_count(survey.messages[encoding], (encoding or 'media') + ' message')}"
        for encoding, segments in sorted(survey.segments_by_encoding.items(), key=lambda item: -item[1])
    ]
    lines.append(f"Cost: {_count(survey.total_segments, 'segment')} ({'; '.join(costs)})")
    lines.append(f"Sending takes {format_duration(estimate.seconds)} or more, because of {estimate.bottleneck}")
    if campaign.not_before:
        lines.append(f"It begins at {campaign.not_before:%Y-%m-%d %H:%M} UTC")
    if campaign.expires_at:
        lines.append(f"What is not sent by {campaign.expires_at:%Y-%m-%d %H:%M} UTC expires")
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _report(done: "Publication") -> str:
    if not done.complete:
        return (
            f"Interrupted: {done.published + done.found:,} of {done.recipients:,} are published; "
            "run the same command again to go on"
        )
    if not done.published:
        return f"All {done.recipients:,} were published before; there is nothing left to do"
    earlier = f", {done.found:,} were before" if done.found else ""
    return f"Published {done.published:,}{earlier}: {done.recipients:,} in all"
