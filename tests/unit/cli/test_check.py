import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from dispatcher.cli.check import check
from dispatcher.domain.errors import DispatcherError

CONFIGS = Path(__file__).parents[3] / "configs"
DEMO = CONFIGS / "demo.yaml"


def run(*arguments: str, config: str | None = None) -> Result:
    app = typer.Typer()
    app.command()(check)
    return CliRunner().invoke(app, list(arguments), env={"DISPATCHER_CONFIG": config})


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.yaml"
    text = DEMO.read_text(encoding="utf-8").replace("rate: 100/s", "rate: 0/s").replace("parent: main", "parent: mian")
    path.write_text(text, encoding="utf-8")
    return path


def test_a_config_that_is_right_gets_one_line() -> None:
    result = run("-c", str(DEMO))
    assert (result.exit_code, result.output) == (0, f"{DEMO}: 2 accounts, 5 senders, 2 pools: fine\n")


def test_one_of_a_kind_is_counted_as_one(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(
        "kafka: {bootstrap_servers: '127.0.0.1:9092'}\n"
        f"accounts: {{main: {{sid: AC{'0' * 32}, auth_token: token}}}}\n"
        "senders: [{number: '72345', kind: short_code, account: main}]\n"
        "pools: {all: {senders: ['72345']}}\n",
        encoding="utf-8",
    )
    assert run("-c", str(path)).output == f"{path}: 1 account, 1 sender, 1 pool: fine\n"


def test_the_config_may_come_from_the_environment() -> None:
    assert run(config=str(DEMO)).output.endswith(": fine\n")


def test_every_mistake_gets_a_line_and_the_exit_code_says_so(broken: Path) -> None:
    result = run("-c", str(broken))
    assert result.exit_code == 2
    assert result.output.splitlines() == [
        f'{broken}:26:13: there is no account "mian"; did you mean "main"?',
        f'{broken}:29:62: the rate "0/s" would never send; write one above zero',
    ]


def test_programs_get_the_mistakes_as_json(broken: Path) -> None:
    result = run("-c", str(broken), "--json")
    assert result.exit_code == 2
    assert json.loads(result.output) == {
        "mistakes": [
            {
                "file": str(broken),
                "line": 26,
                "column": 13,
                "what": 'there is no account "mian"; did you mean "main"?',
            },
            {
                "file": str(broken),
                "line": 29,
                "column": 62,
                "what": 'the rate "0/s" would never send; write one above zero',
            },
        ],
        "warnings": [],
    }


def test_a_warning_does_not_fail_the_check(tmp_path: Path) -> None:
    path = tmp_path / "idle.yaml"
    text = DEMO.read_text(encoding="utf-8").replace(', "+12065550101"]', "]")
    path.write_text(text, encoding="utf-8")
    warning = '"+12065550101" is in no pool, so it sends nothing'
    result = run("-c", str(path))
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        f"{path}:33:14: warning: {warning}",
        f"{path}: 2 accounts, 5 senders, 2 pools: fine",
    ]
    (only,) = json.loads(run("-c", str(path), "--json").output)["warnings"]
    assert only == {"file": str(path), "line": 33, "column": 14, "what": warning}


def test_the_schema_needs_no_config() -> None:
    assert json.loads(run("--schema").output) == json.loads((CONFIGS / "schema.json").read_text(encoding="utf-8"))


def test_no_config_at_all_is_an_error_for_a_person() -> None:
    result = run()
    assert isinstance(result.exception, DispatcherError)


def test_help_does_not_wait_for_the_libraries_that_read_a_config() -> None:
    code = "import sys, dispatcher.cli.check; print({'pydantic', 'ruamel.yaml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"
