"""`dispatcher check`: what is wrong with a config, without touching anything else."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from dispatcher.cli.console import JsonOption
from dispatcher.domain.errors import ConfigError, Mistake

# Unlike elsewhere the config is optional here: the schema needs none.
_ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "-c", "--config", envvar="DISPATCHER_CONFIG", metavar="FILE", help="The config file.", show_default=False
    ),
]


def check(
    *,
    config: _ConfigOption = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the config instead.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Say what is wrong with a config: every mistake at once, with its place and what would be right.

    Looks at the file alone; Kafka and Twilio are not asked.

    Examples:
        dispatcher check -c configs/production.yaml
        dispatcher check --schema > schema.json
    """
    if schema:
        from dispatcher.config.schema import json_schema

        typer.echo(json.dumps(json_schema(), indent=2))
        return
    from dispatcher.config.load import config_path, examine

    path = config_path(config, os.environ)
    try:
        settings, remarks = examine(path, os.environ)
    except ConfigError as error:
        typer.echo(_json(error.mistakes, ()) if json_output else error)
        raise typer.Exit(2) from None
    if json_output:
        typer.echo(_json((), remarks))
        return
    for remark in remarks:
        typer.echo(f"{remark.file}:{remark.line}:{remark.column}: warning: {remark.what}")
    fleet = settings.fleet
    counts = (
        _count(len(fleet.accounts), "account"),
        _count(len(fleet.senders), "sender"),
        _count(len(fleet.pools), "pool"),
    )
    typer.echo(f"{path}: {', '.join(counts)}: fine")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _json(mistakes: tuple[Mistake, ...], warnings: tuple[Mistake, ...]) -> str:
    return json.dumps({"mistakes": [*map(_fields, mistakes)], "warnings": [*map(_fields, warnings)]}, indent=2)


def _fields(mistake: Mistake) -> dict[str, str | int]:
    return {"file": mistake.file, "line": mistake.line, "column": mistake.column, "what": mistake.what}
