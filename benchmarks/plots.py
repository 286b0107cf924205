"""Draws what was measured: `results/*.json` become one page of bars, `results/benchmarks.svg`.

What was not measured is left out.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from benchmarks import report
from benchmarks.peers.contenders import BOUNDS, OURS

PAGE: Final = report.RESULTS / "benchmarks.svg"
SCENES: Final = {
    "http": "HTTP, answered at once",
    "tls": "TLS, answered at once",
    "http-50ms": "HTTP, answered after 50 ms",
    "tls-50ms": "TLS, answered after 50 ms",
}
OURS_COLOUR, OTHER_COLOUR, BOUND_COLOUR, TEXT, FAINT = "#2563eb", "#94a3b8", "#dc2626", "#0f172a", "#64748b"
COLUMN, GAP, ROW, LABELS, NUMBERS = 460, 40, 24, 160, 70
STYLE: Final = (
    "text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;"
    "paint-order:stroke;stroke:#ffffff;stroke-width:3px}"
    f".title{{font-size:14px;font-weight:600;fill:{TEXT}}}.faint{{fill:{FAINT}}}.label{{fill:{TEXT}}}"
)


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure, and the least and the most of its runs where there were several."""

    label: str
    value: float
    shown: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars of one unit under a title; *others* are not the dispatcher's, which must not exceed *bound*."""

    title: str
    remark: str
    bars: Sequence[Bar]
    bound: float | None = None
    others: Sequence[str] = ()

    @property
    def height(self) -> int:
        """In pixels."""
        return 50 + ROW * len(self.bars)


def main() -> None:
    """Draw the page."""
    measured = {
        file.stem: json.loads(file.read_text(encoding="utf-8"))["figures"] for file in report.RESULTS.glob("*.json")
    }
    panels = [panel for panel in _panels(measured) if panel.bars]
    PAGE.write_text(_page(panels), encoding="utf-8")
    print(PAGE)


def _panels(measured: Mapping[str, Mapping[str, Any]]) -> Iterator[Panel]:
    for scene, title in SCENES.items():
        yield _costs(measured.get("message_cost", {}), scene, title)
    limits = measured.get("limits", {})
    for title, remark, figure in (
        ("A limit of 100/s: most in any 100 ms", "messages; 10 would be even", "most in any 100 ms"),
        ("The same: what waiting for it costs", "% of a core; a thousand wait", "% of a core"),
    ):
        bars = [_plain(name, limits[f"{name}: {figure}"]) for name in _limiters(limits)]
        yield Panel(title, remark, bars, others=[bar.label for bar in bars if bar.label != OURS])
    latency = measured.get("latency", {})
    yield Panel(
        "From Kafka to the POST, at half load",
        "ms after a job was due in the topic",
        [
            _of_runs(latency, f"{name} ms", name)
            for name in ("p50", "p99", "p99.9")
            if f"{name} ms, every run" in latency
        ],
        bound=30.0,
    )
    family, publish = measured.get("family", {}), measured.get("publish", {})
    yield Panel(
        "2,000 messages/s: % of a core",
        "one worker, all that a family of accounts may send",
        [_of_runs(family, "% of a core", OURS), _of_runs(family, "% of a core at rest", "at rest")] if family else [],
        bound=25.0,
    )
    yield from _of_stages(measured)
    yield from _of_changes(measured)
    yield Panel(
        "A million rows from a CSV",
        "seconds to publish them",
        [_plain(OURS, publish["seconds, with the start"])] if publish else [],
        bound=30.0,
    )
    memory = measured.get("memory", {})
    yield Panel(
        "Memory of a worker that has 100,000 jobs in hand",
        "MB",
        [_plain(scene, mb) for scene, mb in _ending(memory, ": MB with the look-ahead full").items()],
    )


def _of_stages(measured: Mapping[str, Mapping[str, Any]]) -> Iterator[Panel]:
    """Yield where the effort for a message goes, in the order of its way."""
    shares, counted = measured.get("stages", {}), measured.get("bytecodes", {})
    yield Panel(
        "Where the CPU of a message goes",
        "% of all that a worker uses, nothing limits it",
        [_of_runs(shares, f"{stage}: % of CPU", stage) for stage in _ending(shares, ": % of CPU, every run")],
    )
    crew = "one sender, as fast as it goes: bytecodes, "
    yield Panel(
        "The same in steps of the interpreter",
        "bytecodes a message; counted, so the same anywhere",
        [_plain(figure.removeprefix(crew), steps) for figure, steps in counted.items() if figure.startswith(crew)],
    )


def _of_changes(measured: Mapping[str, Mapping[str, Any]]) -> Iterator[Panel]:
    """Yield what more workers bring, and what it takes when one comes or goes."""
    workers, recovery, rebalance = (measured.get(name, {}) for name in ("workers", "recovery", "rebalance"))
    caged = " with 20% of a core each"
    yield Panel(
        "Workers with a fifth of a core each",
        "messages/s together; nothing else binds",
        [
            _of_runs(workers, f"{crew}: messages/s", crew.removesuffix(caged))
            for crew in _ending(workers, ": messages/s, every run")
            if crew.endswith(caged)
        ],
    )
    yield Panel(
        "A worker is killed: its heir sends",
        "seconds after it was given the partitions, by jobs in hand",
        [
            _of_runs(recovery, f"{window}: s to the {end}", f"{window.split()[0]}: {end}")
            for window in _ending(recovery, ": s to the rate, every run")
            for end in ("first request", "rate")
        ],
    )
    yield Panel(
        "One of two workers comes or goes",
        "the longest time without any message, in seconds",
        [
            _of_runs(rebalance, f"{change}: s without any message", change)
            for change in _ending(rebalance, ": s without any message, every run")
        ],
    )


def _ending(figures: Mapping[str, Any], end: str) -> Mapping[str, Any]:
    """Return those of *figures* whose names have this *end*, without it."""
    return {name.removesuffix(end): value for name, value in figures.items() if name.endswith(end)}


def _costs(figures: Mapping[str, Any], scene: str, title: str) -> Panel:
    tail = ": us CPU a message, every run"
    names = [key[len(scene) + 2 : -len(tail)] for key in figures if key.startswith(f"{scene}: ") and key.endswith(tail)]
    bars = [_of_runs(figures, f"{scene}: {name}: us CPU a message", name) for name in names]
    values = {bar.label: bar.value for bar in bars}
    bounds = [round(values[name] * part, 1) for name, part in BOUNDS.items() if name in values]
    others = [name for name in names if name != OURS]
    return Panel(
        title,
        "us of CPU a message",
        sorted(bars, key=lambda bar: bar.value),
        bound=min(bounds, default=None),
        others=others,
    )


def _limiters(figures: Mapping[str, Any]) -> list[str]:
    """Return how the limiters are called, the dispatcher's first; of each other the run with the largest crowd."""
    names = [match[1] for key in figures if (match := re.fullmatch("(.*): % of a core", key))]
    return [name for name in names if name == OURS or not name.endswith(", 1 waiting")]


def _of_runs(figures: Mapping[str, Any], figure: str, label: str) -> Bar:
    runs = figures[f"{figure}, every run"]
    value = figures[f"{figure}, median of runs"]
    return Bar(label, value, f"{value:g}", min(runs), max(runs))


def _plain(label: str, value: float) -> Bar:
    return Bar(re.sub(r", \d+ waiting$", "", label), value, f"{value:g}")


def _page(panels: Sequence[Panel]) -> str:
    drawn: list[str] = []
    y = GAP
    for left, right in zip(panels[::2], [*panels[1::2], None], strict=False):
        drawn += _draw(left, GAP, y)
        if right is not None:
            drawn += _draw(right, 2 * GAP + COLUMN, y)
        y += max(panel.height for panel in (left, right) if panel is not None) + GAP
    width = 3 * GAP + 2 * COLUMN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" viewBox="0 0 {width} {y}">',
            f"<title>Benchmarks</title><style>{STYLE}</style>",
            f'<rect width="{width}" height="{y}" rx="12" fill="#ffffff"/>',
            *drawn,
            "</svg>\n",
        ]
    )


def _draw(panel: Panel, x: int, y: int) -> Iterable[str]:
    room = COLUMN - LABELS - NUMBERS
    most = max([bar.high or bar.value for bar in panel.bars] + [panel.bound or 0])
    scale = room / most if most else 0
    yield _text(x, y, panel.title, "title")
    bound = "" if panel.bound is None else f"; the dispatcher: at most {panel.bound:g}"
    yield _text(x, y + 18, panel.remark + bound, "faint")
    figures: list[str] = []
    for number, bar in enumerate(panel.bars):
        top = y + 32 + number * ROW
        length = max(1.0, bar.value * scale)
        colour = OTHER_COLOUR if bar.label in panel.others else OURS_COLOUR
        yield _text(x, top + 13, bar.label, "label")
        yield f'<rect x="{x + LABELS}" y="{top}" width="{length:.1f}" height="{ROW - 8}" rx="3" fill="{colour}"/>'
        end = length
        if bar.low is not None and bar.high is not None and bar.high > bar.low:
            middle, end = top + (ROW - 8) / 2, max(length, bar.high * scale)
            yield _line(x + LABELS + bar.low * scale, middle, x + LABELS + bar.high * scale, middle, TEXT)
        figures.append(_text(x + LABELS + end + 8, top + 13, bar.shown, "label"))
    if panel.bound is not None:
        at = x + LABELS + panel.bound * scale
        yield _line(at, y + 28, at, y + 28 + ROW * len(panel.bars), BOUND_COLOUR)
    yield from figures


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="1.5"/>'


if __name__ == "__main__":
    main()
