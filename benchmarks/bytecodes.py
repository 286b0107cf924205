"""How many steps of the interpreter does a message take, stage by stage; and are they more than they were?

Bytecodes and calls into C are counted, not timed: `still_worker.py` runs the same steps on every machine, busy or not,
so a change of one in a hundred is a change of the code. What C code does inside a call is not seen; `stages.py`
measures that.

    python -m benchmarks.bytecodes           count, and keep the figures in results/bytecodes.json
    python -m benchmarks.bytecodes --check   count, and fail where a message costs 10 % more, or less, than was kept

Less fails, too: the next 10 % would hide in what was gained. Where a change is worth its price, or saves something,
keep the new figures with it. Compilers differ: by another minor version of Python than the figures are of, calls into C
are compared alone.
"""

import argparse
import json
import platform
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, Final

from benchmarks import report
from benchmarks.stages import STAGES, stage_of
from benchmarks.still_worker import Crew, dispatch

CREWS: Final = {
    "one sender, as fast as it goes": Crew(senders=1, rate=1e6, concurrency=100),
    "twenty senders, each at its rate": Crew(senders=20, rate=100.0, concurrency=100),
}
# What comes once a run, or once a tick whatever there is, falls out of the difference of the two.
FEW, MANY = 500, 1500
MOST_OFF: Final = 0.1
# A stage that has moved by so many bytecodes is named.
WORTH_A_WORD: Final = 5
# Real workers run on uvloop; and the harness is no part of the program.
_NOT_COUNTED: Final = ("/asyncio/", "/selectors.py", "/benchmarks/", "/contextlib.py")

Counts = dict[str, float]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with what was kept, and keep nothing")
    wanted = parser.parse_args()
    figures = {f"{name}: {what}": value for name, crew in CREWS.items() for what, value in count(crew).items()}
    if not wanted.check:
        report.write("bytecodes", figures)
        return
    version, kept = _kept()
    compared = {"calls into C"} if version != _minor(platform.python_version()) else {"bytecodes", "calls into C"}
    complaints = compare(kept, figures, compared)
    print("\n".join(complaints) or f"a message costs what it did, in {' and '.join(sorted(compared))}")
    sys.exit(bool(complaints))


def compare(before: Mapping[str, float], now: Mapping[str, float], compared: Collection[str]) -> list[str]:
    """Return a paragraph for each total, of those *compared*, that is more than `MOST_OFF` off what it was *before*."""
    complaints = []
    for figure, value in now.items():
        name, _, total = figure.rpartition(": ")
        was = before.get(figure, 0.0)
        if total not in compared or abs(value - was) <= MOST_OFF * was:
            continue
        moved = [
            f"{stage.removeprefix(f'{name}: bytecodes, ')} {now[stage] - before.get(stage, 0.0):+g}"
            for stage in now
            if stage.startswith(f"{name}: bytecodes, ") and abs(now[stage] - before.get(stage, 0.0)) >= WORTH_A_WORD
        ]
        complaints.append(
            f"{name}: a message takes {value:g} {total}, and took {was:g} ({value / was - 1:+.0%}); bytecodes by "
            f"stage: {', '.join(moved) or 'much the same'}. If that is meant: python -m benchmarks.bytecodes, and "
            f"commit the figures"
        )
    return complaints


def count(crew: Crew) -> Counts:
    """Return what one message more takes, in all and by stage."""
    few, many = _count(crew, FEW), _count(crew, MANY)
    more = {key: (number - few.get(key, 0)) / (MANY - FEW) for key, number in many.items()}
    counts: Counts = {}
    for what in ("bytecodes", "calls into C"):
        by_stage = {stage: round(more.get((what, stage), 0.0), 1) for stage in STAGES}
        counts[what] = round(sum(by_stage.values()), 1)
        counts |= {f"{what}, {stage}": number for stage, number in by_stage.items()}
    return counts


def _count(crew: Crew, messages: int) -> dict[tuple[str, str], int]:
    counter = _Counter()
    dispatch(crew, messages, counter.counting)
    return counter.counts


class _Counter:
    """Counts steps by the stage that takes them."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], int] = {}
        self._stages: dict[CodeType, str | None] = {}
        self._tracers: dict[str, Callable[..., None]] = {}

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what happens meanwhile."""
        sys._getframe().f_trace_opcodes = True  # noqa: SLF001 - from 3.12 on, one frame has to ask before the others
        sys.setprofile(self._profile)
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(None)
            sys.setprofile(None)

    def _enter(self, frame: FrameType, _event: str, _argument: Any) -> Callable[..., None] | None:
        stage = self._stage(frame)
        if stage is None:
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return self._tracer(stage)

    def _profile(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event == "c_call" and (stage := self._stage(frame)) is not None:
            key = ("calls into C", stage)
            self.counts[key] = self.counts.get(key, 0) + 1

    def _tracer(self, stage: str) -> Callable[..., None]:
        tracer = self._tracers.get(stage)
        if tracer is None:
            counts, key = self.counts, ("bytecodes", stage)
            counts[key] = 0

            def tracer(_frame: FrameType, event: str, _argument: Any) -> None:
                if event == "opcode":
                    counts[key] += 1

            self._tracers[stage] = tracer
        return tracer

    def _stage(self, frame: FrameType | None) -> str | None:
        """Return the stage for which *frame* works; None for what is not counted."""
        while frame is not None:
            code = frame.f_code
            if code not in self._stages:
                skipped = any(part in code.co_filename for part in _NOT_COUNTED)
                self._stages[code] = "" if skipped else stage_of(code.co_filename)
            stage = self._stages[code]
            if stage is not None:
                return stage or None
            frame = frame.f_back
        return None


def _kept() -> tuple[str, dict[str, float]]:
    """Return the minor version of Python that was counted with, and what was."""
    kept = json.loads((report.RESULTS / "bytecodes.json").read_text(encoding="utf-8"))
    return _minor(kept["machine"]["python"]), kept["figures"]


def _minor(version: str) -> str:
    return version.rpartition(".")[0]


if __name__ == "__main__":
    main()
