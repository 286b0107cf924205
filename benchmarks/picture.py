"""Draws the README's picture: a real run of `dispatcher demo`, as the terminal shows it, in SVG."""

import asyncio
import io
from pathlib import Path

from rich.console import Console

from dispatcher.cli.demo import headline, print_summary, table
from dispatcher.clock import SystemClock
from dispatcher.demo import Progress, run_demo

ROOT = Path(__file__).parent.parent
PICTURE = Path(__file__).parent / "results" / "demo.svg"
MIDDLE = 0.5


async def main() -> None:
    """Run the demo and draw it."""
    console = Console(record=True, width=92, file=io.StringIO(), force_terminal=True, highlight=False)
    console.print("$ make demo", style="bold")
    drawn: list[Progress] = []

    def show(progress: Progress) -> None:
        if not drawn and progress.results.total() > MIDDLE * progress.recipients:
            drawn.append(progress)
            console.print(table(progress, title=headline(progress), is_terminal=True))

    verdict = await run_demo(
        ROOT / "configs" / "demo.yaml",
        ROOT / "configs" / "campaigns" / "spring.yaml",
        SystemClock(),
        asyncio.Event(),
        say=lambda sentence: console.print(f"{sentence} ..."),
        show=show,
    )
    print_summary(verdict, console, is_terminal=True)
    console.save_svg(str(PICTURE), title="dispatcher demo")


if __name__ == "__main__":
    asyncio.run(main())
