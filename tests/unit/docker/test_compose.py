import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer
from ruamel.yaml import YAML

from dispatcher.app.simulator import is_loopback
from dispatcher.broker import jars
from dispatcher.cli.root import app
from dispatcher.config.load import load

DOCKER = Path(__file__).parents[3] / "docker"
COMPOSE: dict[str, Any] = YAML(typ="safe").load(DOCKER / "compose.yaml")
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]
# What the Compose Specification lets a service say, of what we use.
KEYS = {
    *("image", "build", "command", "environment", "volumes", "ports", "healthcheck", "depends_on", "restart"),
    *("read_only", "cap_drop", "security_opt", "stop_grace_period", "network_mode"),
}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_says_nothing_that_compose_does_not_know(name: str) -> None:
    assert set(SERVICES[name]) <= KEYS


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_pinned_by_its_tag(name: str) -> None:
    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", SERVICES[name]["image"])


@pytest.mark.parametrize("name", OURS)
def test_each_command_line_is_one_the_program_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPATCHER_CONFIG", "/etc/dispatcher.yaml")
    program = typer.main.get_command(app)
    command, *arguments = SERVICES[name]["command"]
    with program.make_context("dispatcher", [command]) as context:
        program.commands[command].make_context(command, arguments, parent=context)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_waits_for_is_there(name: str) -> None:
    for other in SERVICES[name].get("depends_on", ()):
        assert other in SERVICES
        if isinstance(SERVICES[name]["depends_on"], dict):
            assert "healthcheck" in SERVICES[other]


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_mounts_is_there(name: str) -> None:
    for volume in SERVICES[name].get("volumes", ()):
        source = volume.split(":")[0]
        assert (DOCKER / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_this_machine_alone(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


def test_the_config_speaks_of_the_services() -> None:
    settings = load(DOCKER / "dispatcher.yaml", os.environ)
    assert settings.kafka.bootstrap_servers.split(":")[0] in SERVICES
    assert urlsplit(settings.twilio.base_url).hostname in SERVICES
    assert settings.metrics is not None
    prometheus = YAML(typ="safe").load(DOCKER.parent / "configs" / "prometheus" / "prometheus.yml")
    targets = [
        target for job in prometheus["scrape_configs"] for each in job["static_configs"] for target in each["targets"]
    ]
    assert settings.webhooks is not None
    assert settings.webhooks.metrics_listen is not None
    assert settings.tracking.metrics_listen is not None
    # The receiver answers under the name of the service whose network it has.
    assert SERVICES["receive"]["network_mode"] == "service:simulator"
    assert targets == [
        f"dispatcher:{settings.metrics.port}",
        f"track:{settings.tracking.metrics_listen.port}",
        f"simulator:{settings.webhooks.metrics_listen.port}",
    ]


def test_the_stand_in_reaches_the_receiver_and_only_on_its_own_machine() -> None:
    webhooks = load(DOCKER / "dispatcher.yaml", os.environ).webhooks
    assert webhooks is not None
    assert webhooks.public_url == f"http://{webhooks.listen}"
    assert is_loopback(webhooks.listen.host)


def test_what_outlives_a_container_is_on_a_volume_of_its_own() -> None:
    settings = load(DOCKER / "dispatcher.yaml", os.environ)
    assert settings.webhooks is not None
    for name, path in (("receive", settings.webhooks.spool), ("track", settings.tracking.database)):
        assert any(volume.split(":")[1] == str(path.parent) for volume in SERVICES[name]["volumes"])
        assert f"install -d -o 10001 -g 10001 {path.parent}" in (DOCKER / "Dockerfile").read_text(encoding="utf-8")


def test_it_is_the_kafka_that_the_local_broker_is_too() -> None:
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{jars.VERSION}"
    assert f"<version>{jars.VERSION}</version>" in Path(jars.__file__).with_name("pom.xml").read_text(encoding="utf-8")


def test_image_and_make_use_one_uv() -> None:
    dockerfile = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    makefile = (DOCKER.parent / "Makefile").read_text(encoding="utf-8")
    (version,) = re.findall(r"uv==([\d.]+)", dockerfile)
    assert f"UV_VERSION := {version}\n" in makefile
