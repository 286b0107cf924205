"""Holds processes to a share of a core each, by a cgroup of their own: what they share with others cannot bind then."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# Short, so that a process is never held back for longer than a tick of its own.
PERIOD_US: Final = 10_000
CGROUPS: Final = Path("/sys/fs/cgroup")


class NoCageError(Exception):
    """This machine lets us make none; the text says why."""


class Cage:
    """As many cells as are wanted, of *share* of a core each; of cgroups in version 1 or 2, below *root*."""

    def __init__(self, share: float, root: Path = CGROUPS) -> None:
        self._share = share
        self._is_v1 = (root / "cpu" / "cpu.cfs_quota_us").exists()
        self._root = root / "cpu" if self._is_v1 else root
        self._cells: list[Path] = []

    def hold(self, pid: int) -> None:
        """Put the process with *pid* into a cell of its own; `NoCageError` where that may not be."""
        cell = self._root / f"dispatcher-benchmark-{pid}"
        quota = int(PERIOD_US * self._share)
        limits = (
            {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(quota)}
            if self._is_v1
            else {"cpu.max": f"{quota} {PERIOD_US}"}
        )
        try:
            cell.mkdir()
            self._cells.append(cell)
            for file, text in {**limits, "cgroup.procs": str(pid)}.items():
                (cell / file).write_text(text, encoding="ascii")
        except OSError as error:
            raise NoCageError(f"no cgroup can be made that limits the CPU ({error})") from error

    def break_down(self) -> None:
        """Remove the cells; the processes in them have ended."""
        for cell in self._cells:
            cell.rmdir()
        self._cells.clear()


@contextmanager
def cage(share: float) -> Iterator[Cage]:
    """A cage that is gone afterwards."""
    made = Cage(share)
    try:
        yield made
    finally:
        made.break_down()
