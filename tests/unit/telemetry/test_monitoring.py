"""What ships for Prometheus, Alertmanager, Grafana and Datadog speaks of metrics that there are, and is right."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from dispatcher.telemetry import metrics
from dispatcher.telemetry.metrics import registry
from tests.unit.telemetry import prometheus_tools

CONFIGS = Path(__file__).parents[3] / "configs"
RULES_FILE = CONFIGS / "prometheus" / "rules.yml"
DASHBOARD: dict[str, Any] = json.loads((CONFIGS / "grafana" / "dispatcher.json").read_text(encoding="utf-8"))
RULES: list[dict[str, Any]] = [
    rule for group in YAML(typ="safe").load(RULES_FILE)["groups"] for rule in group["rules"]
]  # fmt: skip
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
}
SERIES: dict[str, set[str]] = {
    family.name + suffix: set(getattr(collector, "_labelnames", ()))
    for collector in registry._collector_to_names
    for family in collector.collect()
    for suffix in SUFFIXES[family.type]
}
# What Prometheus itself adds.
TARGET_LABELS = {"job", "instance", "worker", "le"}


def expressions() -> list[str]:
    return [
        *(rule["expr"] for rule in RULES),
        *(target["expr"] for panel in PANELS for target in panel["targets"]),
        *(note["expr"] for note in DASHBOARD["annotations"]["list"]),
    ]


def named(expression: str) -> set[str]:
    return set(re.findall(r"\bdispatcher_\w+", expression))


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_that_is_asked_for_exists(expression: str) -> None:
    assert named(expression) <= SERIES.keys()


@pytest.mark.parametrize("expression", expressions())
def test_every_label_that_is_asked_for_is_one_of_the_metrics(expression: str) -> None:
    known = TARGET_LABELS.union(*(SERIES[name] for name in named(expression)))
    grouped = re.findall(r"\b(?:by|on|group_left|without) \(([^)]*)\)", expression)
    matched = re.findall(r"(\w+)(?:=~|!~|!=|=)\"", expression)
    assert {label.strip() for labels in grouped for label in labels.split(",") if label.strip()} <= known
    assert set(matched) <= known


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_is_wrong_what_to_do_and_how_soon(rule: dict[str, Any]) -> None:
    assert rule["annotations"].keys() == {"summary", "description"}
    # One that tracking raised has its own.
    assert rule["alert"] == "DispatcherAlert" or rule["labels"]["severity"] in {"page", "ticket"}


def test_every_alert_fires_in_a_test() -> None:
    tests = (CONFIGS / "prometheus" / "tests" / "rules_test.yml").read_text(encoding="utf-8")
    assert set(re.findall(r'\{alertname="(\w+)"\}', tests)) == {rule["alert"] for rule in RULES}


def test_panels_do_not_overlap() -> None:
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "configs/prometheus/prometheus.yml"),
        ("check", "rules", "--lint=all", "--lint-fatal", "configs/prometheus/rules.yml"),
        ("test", "rules", "configs/prometheus/tests/rules_test.yml"),
    ],
)
def test_prometheus_finds_its_files_right(arguments: tuple[str, ...]) -> None:
    said = prometheus_tools.run("promtool", *arguments)
    assert said.returncode == 0, said.stdout + said.stderr


def test_alertmanager_finds_its_example_right() -> None:
    said = prometheus_tools.run("amtool", "check-config", "configs/alertmanager/alertmanager.yml")
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize(("severity", "receiver"), [("page", "on-duty"), ("ticket", "channel")])
def test_alertmanager_wakes_somebody_for_pages_alone(severity: str, receiver: str) -> None:
    arguments = ("--config.file=configs/alertmanager/alertmanager.yml", f"severity={severity}")
    said = prometheus_tools.run("amtool", "config", "routes", "test", *arguments)
    assert said.stdout.strip() == receiver


def test_datadog_takes_every_metric() -> None:
    instances = YAML(typ="safe").load(CONFIGS / "datadog" / "openmetrics.yaml")["instances"]
    for instance in instances:
        taken, left = (re.compile("|".join(instance[key])) for key in ("metrics", "exclude_metrics"))
        for name in SERIES:
            assert name.startswith(instance["raw_metric_prefix"])
            assert taken.fullmatch(name)
            assert not left.fullmatch(name)


def test_datadog_reads_every_program() -> None:
    instances = YAML(typ="safe").load(CONFIGS / "datadog" / "openmetrics.yaml")["instances"]
    found = {instance["tags"][0]: instance["openmetrics_endpoint"] for instance in instances}
    assert found == {
        f"part:{part}": f"http://127.0.0.1:{port}/metrics"
        for part, port in (("worker", 9400), ("receiver", 9401), ("tracker", 9402))
    }


def test_the_dashboard_shows_all_that_tracking_measures() -> None:
    shown = set().union(*(named(target["expr"]) for panel in PANELS for target in panel["targets"]))
    measured = (
        metrics.CALLBACKS_READ, metrics.DELIVERIES, metrics.DELIVERY_ERRORS, metrics.QUEUE_DELAY,
        metrics.DELIVERY_DELAY, metrics.SENDER_QUEUED, metrics.SENDER_DELAY, metrics.CALLBACKS_MISSING, metrics.POLLS,
        metrics.TRACK_LAG, metrics.RULES_APPLIED, metrics.ALERTS, metrics.ALERT_WEBHOOKS, metrics.OPT_OUTS,
    )  # fmt: skip
    for one in measured:
        (family,) = one.collect()
        assert any(name.startswith(family.name) for name in shown), family.name
