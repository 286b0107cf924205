"""A cage writes what the kernel's two versions of cgroups want, and says when it may not."""

from pathlib import Path

import pytest

from benchmarks.cage import Cage, NoCageError


def test_version_1_is_told_quota_and_period(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").touch()
    Cage(0.2, tmp_path).hold(42)
    (cell,) = (one for one in (tmp_path / "cpu").iterdir() if one.is_dir())
    assert {file.name: file.read_text() for file in cell.iterdir()} == {
        "cpu.cfs_period_us": "10000",
        "cpu.cfs_quota_us": "2000",
        "cgroup.procs": "42",
    }


def test_version_2_is_told_both_at_once(tmp_path: Path) -> None:
    Cage(0.2, tmp_path).hold(42)
    (cell,) = tmp_path.iterdir()
    assert {file.name: file.read_text() for file in cell.iterdir()} == {"cpu.max": "2000 10000", "cgroup.procs": "42"}


def test_where_no_cgroup_can_be_made_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoCageError, match="no cgroup can be made"):
        Cage(0.2, tmp_path / "nothing").hold(42)
