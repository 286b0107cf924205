"""`dispatcher dead-letters`: records that were no jobs; why, and once more after a fix."""

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dispatcher.cli.console import ConfigOption, JsonOption, quiet_kafka
from dispatcher.cli.progress import showing_progress
from dispatcher.domain.errors import DispatcherError

if TYPE_CHECKING:
    from dispatcher.app.dead_letters import Filter, Letter

_Reason = Annotated[str, typer.Option(metavar="TEXT", help="Only those whose reason holds this.")]
_Topic = Annotated[str, typer.Option(metavar="TOPIC", help="Only those that came from this topic.")]
_Since = Annotated[str, typer.Option(metavar="TIME", help="Only since then, like 2026-11-24T18:00:00Z.")]
_NAMES = "By the name that `list` shows, like 3/17."


def list_(
    config: ConfigOption,
    *,
    reason: _Reason = "",
    topic: _Topic = "",
    since: _Since = "",
    unreplayed: Annotated[bool, typer.Option("--unreplayed", help="Only those that were not replayed.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many.")] = 100,
    json_output: JsonOption = False,
) -> None:
    """List dead letters: a line each, with when, from where and why. With --json a JSON object a line.

    Examples:
        dispatcher dead-letters list -c production.yaml
        dispatcher dead-letters list -c production.yaml --reason "no pool" --unreplayed
        dispatcher dead-letters list -c production.yaml --since 2026-11-24T00:00:00Z --json
    """
    wanted = _filter(reason=reason, topic=topic, since=since, is_replayed=False if unreplayed else None)
    shown = 0

    def show(letter: "Letter") -> bool:
        nonlocal shown
        if shown == limit:
            typer.echo(f"There are more than {limit}; ask for more with --limit, or fewer by filters", err=True)
            return False
        shown += 1
        mark = " (replayed)" if letter.is_replayed else ""
        place = f"{letter.topic}/{letter.partition}/{letter.offset}"
        line = f"{letter.name:<10} {letter.at[:19]}  {place}{mark}: {letter.reason}"
        typer.echo(json.dumps(_fields(letter)) if json_output else line)
        return True

    _each(config, wanted, show)
    if not shown and not json_output:
        typer.echo("No dead letters" + (" that fit" if wanted != _filter() else ""))


def show(
    config: ConfigOption,
    letter: Annotated[str, typer.Argument(metavar="LETTER", help=_NAMES, show_default=False)],
    *,
    json_output: JsonOption = False,
) -> None:
    """Show one dead letter whole: the record as it came, and why it is no job. It may hold a recipient's data.

    Examples:
        dispatcher dead-letters show -c production.yaml 3/17
    """
    from dispatcher.app.dead_letters import parse_place

    found: list[Letter] = []

    def keep(one: "Letter") -> bool:
        found.append(one)
        return False

    _each(config, _filter(places=[parse_place(letter)]), keep)
    if not found:
        raise DispatcherError(f"there is no dead letter {letter}; `dispatcher dead-letters list` names them")
    fields = _fields(found[0]) | {"key": _text(found[0].key), "value": _text(found[0].value)}
    if json_output:
        typer.echo(json.dumps(fields, indent=2))
        return
    for name, value in fields.items():
        typer.echo(f"{name}: {value}")


def replay(
    config: ConfigOption,
    letters: Annotated[list[str] | None, typer.Argument(metavar="LETTER...", help=_NAMES, show_default=False)] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All that fit the filters.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also what was replayed before.")] = False,
    reason: _Reason = "",
    topic: _Topic = "",
    since: _Since = "",
    json_output: JsonOption = False,
) -> None:
    """Send dead letters to where they came from, after a fix: of the config, say. Each is marked as replayed.

    Examples:
        dispatcher dead-letters replay -c production.yaml 3/17 3/18
        dispatcher dead-letters replay -c production.yaml --all --reason "no pool"
    """
    import asyncio

    from dispatcher.app.dead_letters import parse_place, replay_letters
    from dispatcher.clock import SystemClock
    from dispatcher.config.load import load_from

    if bool(letters) == everything:
        raise DispatcherError("name the dead letters to replay, like 3/17, or say --all")
    wanted = _filter(places=list(map(parse_place, letters or ())), reason=reason, topic=topic, since=since)
    quiet_kafka()
    settings = load_from(config, os.environ)
    clock = SystemClock()
    with showing_progress(clock) as say:
        done = asyncio.run(
            replay_letters(settings, clock, wanted, again=again, progress=lambda sent: say("Replaying", sent, 0))
        )
    if json_output:
        fields = {"replayed": done.sent, "replayed_before": done.before, "cut_short": done.truncated}
        typer.echo(json.dumps(fields | {"missing": done.missing}))
    else:
        typer.echo(f"Replayed: {done.sent:,}")
        if done.before:
            typer.echo(f"Left, since they were replayed before: {done.before:,}; --again replays them once more")
        if done.truncated:
            typer.echo(f"Left, since they were too large to be kept whole: {done.truncated:,}")
    if done.missing:
        raise DispatcherError(f"there is no dead letter {', '.join(done.missing)}")


def _each(config: Any, wanted: "Filter", use: Callable[["Letter"], bool]) -> None:
    """Call *use* with each letter that is *wanted*, until it says False."""
    import asyncio
    from contextlib import aclosing

    from dispatcher.app.dead_letters import find_letters
    from dispatcher.config.load import load_from

    quiet_kafka()
    settings = load_from(config, os.environ)

    async def look() -> None:
        async with aclosing(find_letters(settings, wanted)) as letters:
            async for letter in letters:
                if not use(letter):
                    return

    asyncio.run(look())


def _filter(**given: Any) -> "Filter":
    from dispatcher.app.dead_letters import Filter
    from dispatcher.domain.instant import parse_instant

    since = given.pop("since", "")
    try:
        return Filter(**given, since=parse_instant(since) if since else None)
    except ValueError as error:
        raise DispatcherError(str(error)) from None


def _fields(letter: "Letter") -> dict[str, Any]:
    return {
        "letter": letter.name,
        "at": letter.at,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "replayed": letter.is_replayed,
        "cut_short": letter.is_truncated,
        "reason": letter.reason,
    }


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")


COMMANDS: dict[Callable[..., None], str] = {
    list_: "List dead letters, and why they are no jobs.",
    show: "Show one dead letter whole.",
    replay: "Send dead letters again, after a fix.",
}
