"""A change that makes a message dearer is seen here, on whatever machine, however busy."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.bytecodes import compare

ROOT = Path(__file__).parents[3]
# 1,000 bytecodes more, of some 4,000.
SLOWER = """
import runpy, sys
from dispatcher.engine import pipeline

def slower(text, quick=pipeline.count_segments):
    for _ in range(500):
        pass
    return quick(text)

pipeline.count_segments = slower
sys.argv = ["bytecodes", "--check"]
runpy.run_module("benchmarks.bytecodes", run_name="__main__", alter_sys=True)
"""


def run(*program: str) -> "subprocess.CompletedProcess[str]":
    """Run *program* in a process of its own: what measures coverage sits where the counting does."""
    return subprocess.run(
        [sys.executable, *program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_message_takes_as_many_steps_as_were_kept() -> None:
    checked = run("-m", "benchmarks.bytecodes", "--check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="what was kept is of Python 3.11")
def test_a_slower_line_fails_and_its_stage_is_named() -> None:
    checked = run("-c", SLOWER)
    assert checked.returncode == 1, checked.stdout + checked.stderr
    assert re.search(r"bytecodes by stage: .*between the stages \+1\d\d\d", checked.stdout), checked.stdout


@pytest.mark.parametrize(("now", "is_told"), [(111.0, True), (110.0, False), (90.0, False), (89.0, True)])
def test_a_tenth_more_or_less_is_told(now: float, *, is_told: bool) -> None:
    before = {"crew: bytecodes": 100.0, "crew: bytecodes, pace": 60.0, "crew: bytecodes, POST": 40.0}
    complaints = compare(before, before | {"crew: bytecodes": now, "crew: bytecodes, pace": now - 40}, {"bytecodes"})
    assert bool(complaints) is is_told
    assert all("by stage: pace" in one and "POST" not in one for one in complaints)


def test_what_is_not_compared_is_not_told() -> None:
    assert compare({"crew: bytecodes": 100.0}, {"crew: bytecodes": 200.0}, {"calls into C"}) == []
