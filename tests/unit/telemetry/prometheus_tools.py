"""Where promtool and amtool are: on the path, or where `make .cache/prometheus` has put them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CACHE = ROOT / ".cache" / "prometheus"


def find(tool: str) -> str:
    """Return the path of *tool*; skip the test where there is none and none can be fetched."""
    if found := shutil.which(tool, path=os.pathsep.join((os.environ.get("PATH", ""), str(CACHE / "usr" / "bin")))):
        return found
    pytest.skip(f"{tool} is not here; `make .cache/prometheus` fetches it where there are Debian's packages")


def run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run *tool*, and return what it says."""
    return subprocess.run([find(tool), *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
