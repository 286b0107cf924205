"""`dispatcher demo`: see it work, without an account, a Kafka or anybody who is texted."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.console import is_terminal, stderr, stdout
from dispatcher.cli.live import LiveView
from dispatcher.domain.duration import format_duration
from dispatcher.domain.errors import DispatcherError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from dispatcher.demo import Progress, Verdict

_PLAIN_LINE_EVERY = 2.0


def demo(
    campaign: Annotated[
        Path | None,
        typer.Argument(metavar="[CAMPAIGN.yaml]", help="A campaign file.", show_default="the sample, 5,000 recipients"),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("-c", "--config", metavar="FILE", help="A config.", show_default="configs/demo.yaml")
    ] = None,
) -> None:
    """See it work: starts a real Kafka, Twilio's stand-in and a worker, sends a campaign, and judges it.

    Everything runs on this machine, on free ports; nobody is texted. Needs Java 17 or newer, and Maven the first time.
    Exits with 0 only if every recipient has exactly one accepted message and no sender was overrun, else with 1.

    Examples:
        dispatcher demo
        dispatcher demo my-campaign.yaml -c my-config.yaml
    """
    import asyncio

    from dispatcher.app import process
    from dispatcher.clock import SystemClock
    from dispatcher.demo import run_demo

    shown_config = config or _shipped("demo.yaml")
    shown_campaign = campaign or _shipped("campaigns/spring.yaml")
    verdicts: list[Verdict] = []

    async def main(stop: asyncio.Event) -> None:
        with _Display() as display:
            verdict = await run_demo(
                shown_config, shown_campaign, SystemClock(), stop, say=display.say, show=display.show
            )
        verdicts.append(verdict)

    process.run(main)
    verdict = verdicts[0]
    print_summary(verdict, stdout(), is_terminal=is_terminal())
    if verdict.troubles:
        raise typer.Exit(1)


class _Display(LiveView):
    """A table that moves on a terminal, a line every two seconds elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self._last_line = float("-inf")

    def show(self, progress: "Progress") -> None:
        if self.live is not None:
            self.live.update(table(progress, title=headline(progress), is_terminal=True), refresh=True)
        elif progress.seconds - self._last_line >= _PLAIN_LINE_EVERY:
            self._last_line = progress.seconds
            stderr().print(headline(progress))


def headline(progress: "Progress") -> str:
    """Say in one line how far it is."""
    done = progress.results.total()
    rate = progress.accepted / progress.seconds if progress.seconds else 0.0
    return f"{done:,} of {progress.recipients:,} done, {rate:,.0f} messages/s, {format_duration(progress.seconds)}"


def print_summary(verdict: "Verdict", console: "Console", *, is_terminal: bool) -> None:
    """Print what every sender did, what became of the messages, and whether that is as promised."""
    progress = verdict.progress
    console.print(table(progress, title=None, is_terminal=is_terminal))
    results = ", ".join(f"{count:,} {status}" for status, count in progress.results.most_common()) or "none"
    console.print(f"Results in Kafka: {results}, in {format_duration(progress.seconds)}.")
    for trouble in verdict.troubles:
        console.print(f"Not as promised: {trouble}.")
    if not verdict.troubles:
        console.print("Every recipient has exactly one accepted message, and no sender was overrun.")


def table(progress: "Progress", *, title: str | None, is_terminal: bool) -> "Table":
    """Return what every sender did so far."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD if is_terminal else None, title=title, title_justify="left", pad_edge=False)
    table.add_column("sender", no_wrap=True)
    for column in ("rate", "achieved", "peak second", "deepest queue", "messages"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, flow in progress.flows.items():
        achieved = flow["achieved_rate"]
        table.add_row(
            name,
            f"{flow['rate']:g}/s",
            f"{achieved:.1f}/s" if achieved else "-",
            f"{flow['peak_1s']}",
            f"{flow['deepest_seconds']:.2f} s",
            f"{flow['messages']:,}",
        )
    return table


def _shipped(name: str) -> Path:
    """Return the path of a file that ships with the project: beside the package in a checkout, inside it elsewhere."""
    import dispatcher

    package = Path(os.path.realpath(dispatcher.__file__ or "")).parent
    for folder in (package.parent / "configs", package / "_configs"):
        if (folder / name).is_file():
            return folder / name
    raise DispatcherError(f"configs/{name} does not ship with this installation; name your own config and campaign")
