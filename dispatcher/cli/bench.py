"""`dispatcher bench`: what a config really reaches, before a campaign depends on it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.console import ConfigOption, JsonOption, is_terminal, quiet_kafka, stderr, stdout
from dispatcher.cli.live import LiveView
from dispatcher.domain.duration import format_duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from dispatcher.bench.drive import Progress
    from dispatcher.bench.findings import Verdict
    from dispatcher.bench.report import Report, Row
    from dispatcher.clock import Clock

_PLAIN_LINE_EVERY = 5.0
# Wide enough for every column where no terminal sets a bound.
_PIPE_WIDTH = 200
_SUMS = ("account", "pool")
_MOST_FLOWS = 30
BOUND_BY = {
    "sender": "own rate",
    "queue": "queue at Twilio",
    "account": "account's rate",
    "family": "family's rate",
    "concurrency": "requests at once",
    "suspended": "quarantine",
    "kafka": "Kafka",
    "stand-in": "stand-in's CPU",
    "machine": "this machine",
    "worker": "worker's CPU",
    "idle": "too few jobs",
    "no pool": "no pool",
}


def bench(
    config: ConfigOption,
    *,
    seconds: Annotated[
        int, typer.Option(min=5, max=3600, metavar="N", help="Measure for so long, after 5 s to settle.")
    ] = 30,
    recipients: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Whom to text, once each.", show_default="numbers that nobody has"),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Allow credentials that text people for real; with --recipients alone.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Rehearse a config on your own staging: what it really reaches, what binds it, what to change.

    Runs a worker here, with work for every sender all the time, against what answers at twilio.base_url: Twilio's
    stand-in (started here when that is an address of this machine and nobody answers), or Twilio with its test
    credentials. Kafka is the config's; topics and group are the rehearsal's own and are removed at the end. Nobody is
    texted: credentials that could are refused. Ctrl-C ends it with what was measured so far.

    Exits with 0 when every sender reached its rate, 2 when one did not and the report says what to change, and 1 when
    a sender was overrun.

    Examples:
        dispatcher bench -c configs/staging.yaml
        dispatcher bench -c configs/staging.yaml --seconds 120 --json
        dispatcher bench -c production.yaml --live --recipients colleagues.csv
    """
    import asyncio
    import logging
    import os

    import structlog

    from dispatcher.app import process
    from dispatcher.bench.report import fields, report_on
    from dispatcher.bench.run import Wish, rehearse
    from dispatcher.clock import SystemClock
    from dispatcher.config.load import load
    from dispatcher.telemetry import logs

    settings = load(config, os.environ)
    # What a worker warns of is in the report; of the libraries' warnings a sentence of ours says what matters.
    logs.configure()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    quiet_kafka()
    wish = Wish(seconds=seconds, recipients=recipients, is_live=live)
    clock = SystemClock()
    verdicts: list[Verdict] = []

    async def main(stop: asyncio.Event) -> None:
        with _Display(clock) as display:
            verdicts.append(await rehearse(settings, config, wish, clock, stop, say=display.say, show=display.show))

    process.run(main)
    report = report_on(verdicts[0], settings.fleet)
    if json_output:
        typer.echo(json.dumps(fields(report), indent=2))
    else:
        print_report(report, stdout(), is_terminal=is_terminal())
    raise typer.Exit(report.exit_code)


class _Display(LiveView):
    """A line that changes on a terminal, a line every few seconds elsewhere."""

    def __init__(self, clock: "Clock") -> None:
        super().__init__()
        self._clock = clock
        self._stage = ""
        self._said = 0.0

    def show(self, progress: "Progress") -> None:
        if self.live is not None:
            self.live.update(headline(progress), refresh=True)
        elif progress.stage != self._stage or self._clock.monotonic() - self._said >= _PLAIN_LINE_EVERY:
            self._stage, self._said = progress.stage, self._clock.monotonic()
            stderr().print(headline(progress), markup=False)


def headline(progress: "Progress") -> str:
    """Say in one line how far it is."""
    if not progress.total:
        return f"{progress.stage} ..."
    if not progress.rate:
        return f"{progress.stage}: {progress.done / progress.total:.0%}"
    return f"{progress.stage}: {progress.done:.0f} s of {progress.total:.0f} s, {progress.rate:,.0f} messages/s"


def print_report(report: "Report", console: "Console", *, is_terminal: bool) -> None:
    """Print who reached what, how it went, and what to change."""
    from rich.console import Console

    measured = report.measured
    if not is_terminal:
        console = Console(file=console.file, width=_PIPE_WIDTH, highlight=False, soft_wrap=True)
    shown = _worth_showing(report.rows)
    console.print(_table(shown, is_terminal=is_terminal))
    if left_out := len(report.rows) - len(shown):
        console.print(f"{left_out:,} more are not shown here; --json has them.")
    console.print(
        f"{measured.messages / measured.seconds:,.1f} messages/s, {measured.segments / measured.seconds:,.1f} "
        f"segments/s, for {format_duration(measured.seconds)} against {measured.against}; the worker used "
        f"{measured.cpu:.0%} of a core."
    )
    for account in measured.accounts.values():
        if account.typical is not None and account.slowest is not None:
            console.print(
                f"Answers to account {account.name}: {_ms(account.typical)} (p50), {_ms(account.slowest)} (p99); "
                f"{account.throttled:,} x 429, {account.in_doubt:,} in doubt, {account.at_once} at once."
            )
    if measured.urgent is not None:
        console.print(
            f"{measured.urgent_messages:,} urgent messages beside them: {_ms(measured.urgent[0])} (p50), "
            f"{_ms(measured.urgent[1])} (p99) from the append to Kafka to the request."
        )
    for one in report.advice:
        console.print(f"Change {one.key}: {one.sentence}.", markup=False)
    for trouble in report.troubles:
        console.print(f"Not as promised: {trouble}.", markup=False)
    if not report.advice and not report.troubles:
        judged = "none was overrun" if report.is_judged else "a stand-in not used before would tell of overruns"
        console.print(f"Every sender reached its rate; {judged}.")


def _worth_showing(rows: "Sequence[Row]") -> "list[Row]":
    """Return what fits on a screen: of many senders and campaigns those that fell short."""
    flows = [row for row in rows if row.kind not in _SUMS]
    if len(flows) > _MOST_FLOWS:
        flows = [row for row in flows if row.is_short][:_MOST_FLOWS]
    return [*flows, *(row for row in rows if row.kind in _SUMS)]


def _table(rows: "Sequence[Row]", *, is_terminal: bool) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD if is_terminal else None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for column in ("configured", "reached", ""):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("bound by", no_wrap=True)
    table.add_column("queue", justify="right", no_wrap=True)
    for row in rows:
        share = row.reached / row.configured if row.configured else 0.0
        table.add_row(
            f"{row.kind} {row.name}" if row.kind in _SUMS else row.name,
            f"{row.configured:,.4g}/s",
            f"{row.reached:,.1f}/s",
            f"{share:.0%}",
            BOUND_BY[row.bound_by],
            f"{row.deepest:.2f} s",
        )
    return table


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"
