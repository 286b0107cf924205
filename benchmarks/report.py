"""How a benchmark says what it measured: a JSON file with the machine and the versions, and lines for a person."""

import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dispatcher.pacing import lane

RESULTS = Path(__file__).parent / "results"
_VERSIONS = ("aiohttp", "aiokafka", "httptools", "msgspec", "orjson", "twilio", "uvloop")


def write(name: str, figures: dict[str, Any]) -> None:
    """Keep *figures* as `benchmarks/results/NAME.json` and print them."""
    RESULTS.mkdir(exist_ok=True)
    report = {
        "benchmark": name,
        "command": f"python -m benchmarks.{name}",
        "compiled": lane.__file__.endswith(".so"),
        "machine": {"cpu": _cpu(), "cores": _cores(), "python": sys.version.split()[0], "system": platform.platform()},
        "versions": {package: version(package) for package in _VERSIONS},
        "commit": commit(),
        "figures": figures,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for figure, value in figures.items():
        print(f"{figure:>48}  {value}")


def of_runs(runs: Sequence[Mapping[str, float]], title: str = "") -> dict[str, Any]:
    """Return of each figure of *runs*, with *title* before its name, the median and every run's."""
    figures: dict[str, Any] = {}
    for name in runs[0]:
        values = [run[name] for run in runs]
        figures[f"{title}{name}, median of runs"] = round(statistics.median(values), 2)
        figures[f"{title}{name}, every run"] = [round(value, 2) for value in values]
    return figures


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _cores() -> int:
    return Path("/proc/cpuinfo").read_text(encoding="utf-8").count("processor\t:")


def commit() -> str:
    """Return the commit that is measured."""
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - the PATH's git
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return head.stdout.strip() or "unknown"
