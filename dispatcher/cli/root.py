"""The `dispatcher` command: its sub-commands, each in a module of its own.

The modules here import nothing but typer and the domain's values at the top; what a command works with is imported
when it runs, so that help and completion answer at once.
"""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from dispatcher.cli import campaign, dead_letters, sender, suppressions
from dispatcher.cli.bench import bench
from dispatcher.cli.broker import broker
from dispatcher.cli.check import check
from dispatcher.cli.demo import demo
from dispatcher.cli.doctor import doctor
from dispatcher.cli.publish import publish
from dispatcher.cli.receive import receive
from dispatcher.cli.run import run
from dispatcher.cli.simulate import simulate
from dispatcher.cli.track import track

# In the order in which a person meets them, each with what the overview says of it: a line of at most 66 characters.
COMMANDS: dict[Callable[..., None], str] = {
    demo: "See it work: Kafka, Twilio's stand-in, a worker, a campaign.",
    run: "Send jobs from Kafka to Twilio, each sender at its rate.",
    receive: "Keep what Twilio calls back with, and answer.",
    track: "Follow what becomes of messages, and tell it on.",
    publish: "Make a campaign and its recipients jobs in Kafka.",
    check: "Name every mistake of a config.",
    doctor: "Look whether Kafka and Twilio are as a config says.",
    bench: "Rehearse on staging: what a config reaches, and what binds it.",
    simulate: "Stand in for Twilio, and report what was seen.",
    broker: "Run a local Apache Kafka for development.",
}

# Commands that have commands of their own.
GROUPS: dict[str, tuple[str, dict[Callable[..., None], str]]] = {
    "campaign": ("See how far campaigns are; pause, resume and cancel them.", campaign.COMMANDS),
    "suppressions": ("Say who must not be texted, from and to CSV files.", suppressions.COMMANDS),
    "dead-letters": ("See what was no job, and why; send it again after a fix.", dead_letters.COMMANDS),
    "sender": ("See, suspend and resume senders; ask why one is chosen.", sender.COMMANDS),
}

app = typer.Typer(
    name="dispatcher",
    no_args_is_help=True,
    # Plain help: rich takes a third of a second to draw its boxes. Its tracebacks show locals, so secrets.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=(
        "Exit codes: 0 done; 1 a bug in the dispatcher, or a demo or bench that broke a promise; "
        "2 something you can mend, named in one sentence; "
        "130 left at once (Ctrl-C, or a second signal while draining)."
    ),
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it
    if wanted:
        from importlib.metadata import version

        typer.echo(f"dispatcher {version('campaign-dispatcher')}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Hands campaign jobs from Kafka to Twilio exactly as fast as each sender can drain."""
    del version


def _help(command: Callable[..., Any]) -> str:
    """Return the docstring of *command* as help, its examples kept line by line."""
    return (inspect.getdoc(command) or "").replace("\nExamples:\n", "\n\b\nExamples:\n")


for _command, _summary in COMMANDS.items():
    app.command(help=_help(_command), short_help=_summary)(_command)
for _name, (_summary, _commands) in GROUPS.items():
    _group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    for _command, _its_summary in _commands.items():
        _group.command(_command.__name__.rstrip("_"), help=_help(_command), short_help=_its_summary)(_command)
    app.add_typer(_group, name=_name, help=_summary, short_help=_summary)
