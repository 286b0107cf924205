"""What changes in place on a terminal and is said in lines elsewhere."""

from typing import Self

from dispatcher.cli.console import is_terminal, stderr


class LiveView:
    """Something on stderr that is drawn anew while work goes on, and gone when it is over; *live* is None in a pipe."""

    def __init__(self) -> None:
        from rich.live import Live

        # It refreshes when there is something new: a thread that did so by itself would take time from the work.
        self.live = Live(console=stderr(), auto_refresh=False, transient=True) if is_terminal() else None

    def __enter__(self) -> Self:
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()

    def say(self, sentence: str) -> None:
        """Print *sentence*, above what is drawn."""
        (self.live.console if self.live is not None else stderr()).print(f"{sentence} ...", markup=False)
