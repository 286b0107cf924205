"""`dispatcher suppressions`: who must not be texted, from and to CSV files, and about one number."""

import csv
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.console import ConfigOption, JsonOption, quiet_kafka
from dispatcher.domain.errors import DispatcherError

if TYPE_CHECKING:
    from dispatcher.app.suppressions import Entry

_File = Annotated[Path, typer.Argument(metavar="FILE.csv", help="The CSV file.", show_default=False)]


def import_(
    config: ConfigOption,
    file: _File,
    *,
    scope: Annotated[
        str, typer.Option(metavar="SCOPE", help="global, pool/NAME or sender/NUMBER, where a row does not say.")
    ] = "global",
    reason: Annotated[str, typer.Option(help="opt_out, dead_number or blocked, where a row does not say.")] = "opt_out",
    json_output: JsonOption = False,
) -> None:
    """Suppress the numbers of a CSV file: workers stop texting them at once.

    The first line names the columns: `number`, and where you like `scope`, `reason`, `since`, `source`. Rows that are
    not right go to FILE.rejects.csv, each with its line and what is wrong with it. Doing it again changes nothing.

    Examples:
        dispatcher suppressions import -c production.yaml optouts.csv
        dispatcher suppressions import -c production.yaml optouts.csv --scope pool/marketing
    """
    import asyncio
    from typing import cast

    from dispatcher.app.suppressions import import_numbers, parse_scope
    from dispatcher.clock import SystemClock
    from dispatcher.config.load import load_from
    from dispatcher.domain.suppression import SuppressionReason

    if reason not in {"opt_out", "dead_number", "blocked"}:
        raise DispatcherError(f'"{reason}" is no reason; write opt_out, dead_number or blocked')
    try:
        within = parse_scope(scope)
    except ValueError as error:
        raise DispatcherError(str(error)) from None
    quiet_kafka()
    settings = load_from(config, os.environ)
    done = asyncio.run(import_numbers(settings, SystemClock(), file, within, cast("SuppressionReason", reason)))
    if json_output:
        rejects = str(done.rejects) if done.rejected else None
        typer.echo(json.dumps({"suppressed": done.taken, "rejected": done.rejected, "rejects_file": rejects}))
        return
    typer.echo(f"Suppressed: {done.taken:,}")
    if done.rejected:
        typer.echo(f"Rejected: {done.rejected:,}; {done.rejects} says why")


def export(config: ConfigOption, file: _File) -> None:
    """Write who is suppressed into a CSV file, or with `-` to stdout. `import` reads it.

    Examples:
        dispatcher suppressions export -c production.yaml suppressed.csv
        dispatcher suppressions export -c production.yaml - | wc -l
    """
    import asyncio

    from dispatcher.app.suppressions import COLUMNS, entries, format_scope
    from dispatcher.config.load import load_from

    quiet_kafka()
    settings = load_from(config, os.environ)
    try:
        target = sys.stdout if str(file) == "-" else file.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise DispatcherError(f"{file} cannot be written: {(error.strerror or str(error)).lower()}") from error
    writer = csv.writer(target)
    writer.writerow(COLUMNS)
    count = 0

    async def write() -> None:
        nonlocal count
        async for entry in entries(settings):
            why = entry.why
            writer.writerow([entry.number, format_scope(entry.scope), why.reason, why.since, why.source])
            count += 1

    asyncio.run(write())
    if target is not sys.stdout:
        target.close()
        typer.echo(f"Written: {count:,}")


def check(
    config: ConfigOption,
    numbers: Annotated[list[str], typer.Argument(metavar="NUMBER...", help="Like +12065550142.", show_default=False)],
    *,
    json_output: JsonOption = False,
) -> None:
    """Say whether numbers are suppressed, within which scope, since when and why.

    Examples:
        dispatcher suppressions check -c production.yaml +12065550142
    """
    import asyncio

    from dispatcher.app.suppressions import entries, format_scope
    from dispatcher.config.load import load_from
    from dispatcher.domain.phone import is_e164

    for number in numbers:
        if not is_e164(number):
            raise DispatcherError(f'"{number}" is no number in E.164, like +12065550142')
    quiet_kafka()
    settings = load_from(config, os.environ)
    found: dict[str, list[Entry]] = {number: [] for number in numbers}

    async def look() -> None:
        async for entry in entries(settings, found):
            found[entry.number].append(entry)

    asyncio.run(look())
    if json_output:
        fields = [
            {"number": one.number, "scope": format_scope(one.scope), "reason": one.why.reason, "since": one.why.since}
            | {"source": one.why.source}
            for entries_of in found.values()
            for one in entries_of
        ]
        typer.echo(json.dumps(fields, indent=2))
        return
    for number, entries_of in found.items():
        if not entries_of:
            typer.echo(f"{number}: not suppressed")
        for one in entries_of:
            scope = "everywhere" if one.scope.reach == "global" else f"for {format_scope(one.scope)}"
            typer.echo(f"{number}: suppressed {scope} since {one.why.since} ({one.why.reason}, {one.why.source})")


COMMANDS: dict[Callable[..., None], str] = {
    import_: "Suppress the numbers of a CSV file.",
    export: "Write who is suppressed into a CSV file.",
    check: "Say whether numbers are suppressed, and why.",
}
