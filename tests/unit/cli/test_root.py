import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dispatcher import __main__ as program
from dispatcher.cli import root
from dispatcher.cli.root import COMMANDS, GROUPS, app
from dispatcher.domain.errors import ConfigError, DispatcherError, Mistake

SUMMARIES = {command.__name__: summary for command, summary in COMMANDS.items()} | {
    name: summary for name, (summary, _) in GROUPS.items()
}
IN_GROUPS = [f"{name} {command.__name__.rstrip('_')}" for name, (_, group) in GROUPS.items() for command in group]
MISTAKES = (
    Mistake(file="a.yaml", line=3, column=7, what="no such key"),
    Mistake(file="a.yaml", line=9, column=1, what="no such pool"),
)


def run_program(arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dispatcher", *arguments.split()],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def end_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let a command end with *error*; return the exit code."""

    def command(**_options: object) -> None:
        raise error

    monkeypatch.setattr(root, "app", command)
    # The handler is this process's own, so pytest's.
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as leaving:
        program.main()
    assert isinstance(leaving.value.code, int)
    return leaving.value.code


@pytest.mark.parametrize("arguments", ["", "-h", "--help"])
def test_help_names_every_command_and_every_exit_code(arguments: str) -> None:
    printed = CliRunner().invoke(app, arguments).output
    lines = [line.split(maxsplit=1) for line in printed.splitlines()]
    assert [[name, summary] for name, summary in SUMMARIES.items()] == [
        line for line in lines if line and line[0] in SUMMARIES
    ]
    assert all(code in printed for code in ("0 done", "1 a bug", "2 something you can mend", "130 left at once"))


@pytest.mark.parametrize("name", [*(command.__name__ for command in COMMANDS), *IN_GROUPS])
def test_every_command_shows_examples_a_line_each(name: str) -> None:
    printed = CliRunner().invoke(app, [*name.split(), "-h"]).output
    assert f"\n  Examples:\n      dispatcher {name}" in printed.replace("DISPATCHER_CONFIG=/etc/dispatcher.yaml ", "")


def test_the_version_is_the_packages() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert CliRunner().invoke(app, "--version").output == f"dispatcher {project['version']}\n"


def test_help_waits_for_no_heavy_library() -> None:
    script = "import sys, dispatcher.cli.root; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    heavy = {"aiohttp", "aiokafka", "pydantic", "rich", "ruamel", "structlog", "twilio", "uvloop"}
    assert heavy & set(done.stdout.split()) == set()


def test_a_mistake_in_the_command_line_is_something_to_mend() -> None:
    done = run_program("broker --prot 9092")
    assert done.returncode == 2
    assert "No such option: --prot" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_keeps_us_from_working_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end_with(DispatcherError("there is no Java; install one"), monkeypatch) == 2
    assert capsys.readouterr() == ("", "dispatcher: there is no Java; install one\n")


def test_mistakes_of_a_config_are_a_line_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end_with(ConfigError(MISTAKES), monkeypatch) == 2
    assert capsys.readouterr() == ("", "a.yaml:3:7: no such key\na.yaml:9:1: no such pool\n")


def test_ctrl_c_leaves_without_a_word(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert end_with(KeyboardInterrupt(), monkeypatch) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_commands_are_read_ends_it_without_a_word(number: signal.Signals) -> None:
    script = f"""
import os, sys
from dispatcher import __main__ as program
class Signal:
    def find_spec(self, name, path, target=None):
        if name == "dispatcher.cli.root":
            os.kill(os.getpid(), {int(number)})
sys.meta_path.insert(0, Signal())
program.main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_bug_shows_where_it_is_but_no_values() -> None:
    script = """
from dispatcher import __main__ as program
from dispatcher.cli import root
def command(**_options):
    token = "".join(["s3", "cret"])
    return {}[len(token)]
root.app = command
program.main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "KeyError" in done.stderr
    assert "s3cret" not in done.stderr
    assert done.stdout == ""


def test_a_reader_that_has_gone_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "dispatcher", "check", "--schema"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(writing)
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_had(shell: str) -> None:
    done = run_program("", _DISPATCHER_COMPLETE=f"source_{shell}", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "DISPATCHER" in done.stdout
