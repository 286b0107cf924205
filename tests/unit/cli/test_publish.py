import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from dispatcher.cli.publish import publish
from dispatcher.domain.errors import DispatcherError
from tests.fixtures import make_spring

CONFIGS = Path(__file__).parents[3] / "configs"
DEMO = CONFIGS / "demo.yaml"
SPRING = CONFIGS / "campaigns" / "spring.yaml"


def run(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(publish)
    return CliRunner().invoke(app, ["-c", str(DEMO), *map(str, arguments)])


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    path = tmp_path / "sale.yaml"
    path.write_text(
        "campaign: sale\npool: marketing\ntemplate: Hi {{ name }}\nrecipients: people.csv\n"
        "window: {not_before: 2026-11-24T18:00:00Z, expires_at: 2026-11-25T03:00:00Z}\n"
    )
    return path


def invite(campaign: Path, table: str) -> None:
    campaign.with_name("people.csv").write_text(table)


def test_the_sample_is_what_its_generator_makes(tmp_path: Path) -> None:
    make_spring.write(tmp_path / "spring.csv")

    assert (tmp_path / "spring.csv").read_bytes() == make_spring.SAMPLE.read_bytes()


def test_a_dry_run_says_what_would_be_done_and_needs_no_kafka() -> None:
    result = run(SPRING, "--dry-run")

    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "spring: 5,000 recipients through the pool marketing",
        "Cost: 5,478 segments (5,331 in 4,928 GSM-7 messages; 147 in 72 UCS-2 messages)",
        'Sending takes 23 s or more, because of the senders of the pool "marketing"',
        "Nothing was published.",
    ]


def test_the_window_and_the_rejected_rows_are_told(campaign: Path) -> None:
    invite(campaign, "to,name\n+12065550142,Ana\nnobody,No\n")

    lines = run(campaign, "--dry-run").output.splitlines()

    assert lines[0] == "sale: 1 recipient through the pool marketing"
    assert lines[1] == f"Rejected: 1 row; {campaign.with_name('people.rejects.csv')} says why"
    assert lines[4:6] == ["It begins at 2026-11-24 18:00 UTC", "What is not sent by 2026-11-25 03:00 UTC expires"]


def test_other_recipients_can_be_named(campaign: Path, tmp_path: Path) -> None:
    invite(campaign, "to,name\n+12065550142,Ana\n")
    (tmp_path / "denver.csv").write_text("to,name\n+12065550142,Ana\n+12065550143,Ben\n")

    assert "sale: 2 recipients" in run(campaign, "--recipients", tmp_path / "denver.csv", "--dry-run").output


def test_json_is_for_programs(campaign: Path) -> None:
    invite(campaign, "to,name,carrier\n+12065550142,Ana,att\n+12065550143,Ève漢,\n")

    result = run(campaign, "--dry-run", "--json")

    assert json.loads(result.stdout) == {
        "campaign": "sale",
        "pool": "marketing",
        "priority": "bulk",
        "topic": "campaign.jobs",
        "recipients": 2,
        "rejected": 0,
        "rejects_file": None,
        "content_warnings": {},
        "segments": 2,
        "segments_by_encoding": {"GSM-7": 1, "UCS-2": 1},
        "segments_by_carrier": {"att": 1, "unknown": 1},
        "seconds": 0.0,
        "bottleneck": 'the senders of the pool "marketing"',
    }


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("to,name\n", r"people\.csv has no rows below its first line; add the recipients"),
        ("to,name\nnobody,No\n", r"no row of .*people\.csv is a job; .*people\.rejects\.csv says why"),
    ],
)
def test_a_campaign_for_nobody_is_refused(campaign: Path, table: str, complaint: str) -> None:
    invite(campaign, table)

    with pytest.raises(DispatcherError, match=complaint):
        raise run(campaign, "--dry-run").exception or AssertionError
