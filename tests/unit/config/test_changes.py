import re
from dataclasses import fields
from pathlib import Path

import pytest

from dispatcher.config.changes import LIVE, NOT_A_WORKERS, differences
from dispatcher.config.edition import Edition, read_edition
from dispatcher.domain.errors import ConfigError, DispatcherError
from dispatcher.domain.settings import Settings
from tests.unit.config.test_load import ENVIRON, FULL, SMALLEST

FIXED = {"kafka", "webhooks", "topics", "metrics", "frequency"}


def edited(folder: Path, old: str, new: str) -> tuple[Path, Edition]:
    """Return the full config with its first *old* replaced by *new*, and the edition before that."""
    text = FULL.read_text(encoding="utf-8")
    assert old in text
    file = folder / "dispatcher.yaml"
    file.write_text(text, encoding="utf-8")
    running = read_edition(file, ENVIRON)
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    return file, running


def test_of_every_section_it_is_known_whether_it_can_change() -> None:
    assert {section.name for section in fields(Settings)} == LIVE | NOT_A_WORKERS | FIXED
    assert not LIVE & NOT_A_WORKERS


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("bootstrap_servers: kafka-1:9092", "bootstrap_servers: kafka-9:9092", "kafka.bootstrap_servers"),
        ("partitions: 12", "partitions: 24", "kafka.partitions"),
        ("group_id: dispatcher", "group_id: other", "kafka.group_id"),
        ("sasl_plain_username: dispatcher", "sasl_plain_username: other", "kafka.sasl_plain_username"),
        ("base_url: https://api.twilio.com/", "base_url: http://127.0.0.1:1", "twilio.base_url"),
        ("request_timeout: 15s", "request_timeout: 16s", "twilio.request_timeout"),
        ("public_url: https://hooks.example.com/twilio", "public_url: https://a.example.com", "webhooks.public_url"),
        ("listen: 0.0.0.0:8080", "listen: 0.0.0.0:8081", "webhooks.listen"),
        ("sid: ${MAIN_SID}", f"sid: AC{'f' * 32}", "accounts.main.sid"),
        ("per_day: 3", "per_day: 4", "frequency.per_day"),
    ],
)
def test_what_needs_a_restart_is_named_with_its_place(tmp_path: Path, old: str, new: str, key: str) -> None:
    file, running = edited(tmp_path, old, new)
    with pytest.raises(ConfigError) as refused:
        read_edition(file, ENVIRON, running)
    (mistake,) = refused.value.mistakes
    assert mistake.what == f'"{key}" needs a restart of all workers; take this back, and the rest holds at once'
    line = file.read_text(encoding="utf-8").splitlines()[mistake.line - 1]
    assert re.match(rf"{key.rpartition('.')[2]}: ", line[mistake.column - 1 :])


def test_priority_classes_keep_their_names_topics_and_order(tmp_path: Path) -> None:
    file, running = edited(tmp_path, "topic: jobs.bulk", "topic: jobs.other")
    with pytest.raises(ConfigError, match='"priorities" needs a restart'):
        read_edition(file, ENVIRON, running)


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("queue_target: 500ms", "queue_target: 2s", "twilio changed"),
        ("in_doubt_hold_off: 30s", "in_doubt_hold_off: 40s", "twilio changed"),
        ("family_rate: 1500/s", "family_rate: 100/s", "twilio.family_rate changed"),
        ("weight: 3", "weight: 2", "priorities changed"),
        ("max_concurrency: 60", "max_concurrency: 6", "accounts.main changed"),
    ],
)
def test_what_can_change_is_taken_up_and_told(tmp_path: Path, old: str, new: str, changed: str) -> None:
    file, running = edited(tmp_path, old, new)
    edition = read_edition(file, ENVIRON, running)
    assert edition.version != running.version
    assert differences(running.settings, edition.settings) == [changed]


def test_a_comment_is_another_version_of_the_same(tmp_path: Path) -> None:
    file, running = edited(tmp_path, "kafka:", "# For Ana.\nkafka:")
    edition = read_edition(file, ENVIRON, running)
    assert edition.version != running.version
    assert edition.settings == running.settings
    assert differences(running.settings, edition.settings) == []


def test_an_edit_that_is_taken_back_is_the_running_one(tmp_path: Path) -> None:
    file, running = edited(tmp_path, "12", "12")
    assert read_edition(file, ENVIRON, running) is running


def test_a_new_account_whose_secret_is_not_in_the_environment_is_refused(tmp_path: Path) -> None:
    file, running = edited(
        tmp_path, "accounts:", 'accounts:\n  more: {sid: "${MORE_SID}", auth_token: "${MORE_TOKEN}"}'
    )
    with pytest.raises(ConfigError, match="MORE_SID is not set in the environment"):
        read_edition(file, ENVIRON, running)
    with_more = {**ENVIRON, "MORE_SID": "AC" + "e" * 32, "MORE_TOKEN": "another-secret"}
    edition = read_edition(file, with_more, running)
    assert differences(running.settings, edition.settings) == ["accounts.more added"]


def test_a_first_cap_of_a_day_needs_a_restart_and_another_does_not(tmp_path: Path) -> None:
    of_account = SMALLEST.replace("auth_token: token", "auth_token: token, daily_cap: 1000")
    of_both = f"{of_account}brands: {{acme: {{tmobile_daily_cap: 2000}}}}\n"
    file = tmp_path / "dispatcher.yaml"
    file.write_text(SMALLEST, encoding="utf-8")
    uncapped = read_edition(file, {})
    file.write_text(of_both, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        read_edition(file, {}, uncapped)
    keys = [mistake.what.partition(" ")[0] for mistake in refused.value.mistakes]
    assert keys == ['"accounts.main.daily_cap"', '"brands.acme.tmobile_daily_cap"']
    file.write_text(of_account, encoding="utf-8")
    capped = read_edition(file, {})
    file.write_text(of_both, encoding="utf-8")
    assert differences(capped.settings, read_edition(file, {}, capped).settings) == ["brands.acme added"]


def test_whatever_is_wrong_is_said_before_what_needs_a_restart(tmp_path: Path) -> None:
    file, running = edited(tmp_path, "partitions: 12", "partitions: many")
    with pytest.raises(ConfigError) as refused:
        read_edition(file, ENVIRON, running)
    assert "restart" not in str(refused.value)
    file.unlink()
    with pytest.raises(DispatcherError, match="cannot be read"):
        read_edition(file, ENVIRON, running)
