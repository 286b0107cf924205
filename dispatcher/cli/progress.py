"""How far long work is: a bar with rate and time left on a terminal, a line every few seconds elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from dispatcher.cli.console import is_terminal, stderr
from dispatcher.domain.duration import format_duration

if TYPE_CHECKING:
    from rich.progress import Task

    from dispatcher.clock import Clock

_SECONDS_BETWEEN_LINES = 5.0

# Is told the stage, how much of it is done, and of how much; of nothing when nobody knows.
Show = Callable[[str, int, int], None]


@contextmanager
def showing_progress(clock: "Clock") -> Iterator[Show]:
    """Show on stderr what the callable that this yields is told; a bar goes when the work is over."""
    if is_terminal():
        with _bar() as show:
            yield show
    else:
        yield _Lines(clock).show


@contextmanager
def _bar() -> Iterator[Show]:
    from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: "Task") -> Text:
            return Text(f"{task.speed:,.0f}/s" if task.speed else "")

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=stderr(), transient=True) as progress:
        task, current = progress.add_task("", total=None, visible=False), ""

        def show(stage: str, done: int, total: int) -> None:
            nonlocal current
            if stage != current:
                # The first total stays: a guess that moves would start the rate and the time left anew.
                progress.reset(task, description=stage, total=total or None, visible=True)
                current = stage
            progress.update(task, completed=done)

        yield show


class _Lines:
    def __init__(self, clock: "Clock") -> None:
        self._clock = clock
        self._stage = ""
        self._began = self._said = 0.0
        self._done_before = 0

    def show(self, stage: str, done: int, total: int) -> None:
        now = self._clock.monotonic()
        if stage != self._stage:
            self._stage, self._began, self._said, self._done_before = stage, now, now, done
            if not total:
                typer.echo(f"{stage} ...", err=True)
        elif total and now - self._said >= _SECONDS_BETWEEN_LINES:
            self._said = now
            rate = (done - self._done_before) / (now - self._began)
            left = format_duration((total - done) / rate) if rate else "unknown"
            typer.echo(f"{stage}: {done:,} of {total:,} ({done / total:.0%}), {rate:,.0f}/s, {left} left", err=True)
