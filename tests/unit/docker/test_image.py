import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COPIED = [
    name
    for line in re.findall(
        r"^COPY (?!--from)(.+) \S+$", (ROOT / "docker/Dockerfile").read_text(encoding="utf-8"), re.MULTILINE
    )
    for name in line.split()
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WHEEL = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]


def test_the_wheel_can_be_made_of_what_the_image_gets(tmp_path: Path) -> None:
    allowed = (ROOT / "docker/Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    for name in COPIED:
        if f"!{name}" not in allowed:
            continue
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("pattern", WHEEL["hooks"]["mypyc"]["include"])
def test_what_is_compiled_is_there_and_defines_no_struct(pattern: str) -> None:
    modules = list(ROOT.glob(pattern.lstrip("/")))
    assert modules
    assert not [module for module in modules if "(msgspec.Struct" in module.read_text(encoding="utf-8")]
