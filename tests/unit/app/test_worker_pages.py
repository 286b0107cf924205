"""One page of metrics out of many."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from dispatcher.app.worker_pages import merge


def page(sent: float) -> str:
    registry = CollectorRegistry(auto_describe=True)
    Counter("sent", 'What was sent, by "sender".', ["sender"], registry=registry).labels('+1 "a"\\').inc(sent)
    Gauge("waiting", "What waits.", registry=registry).set(-1.5)
    Histogram("took_seconds", "How long it took.", buckets=(1, 2), registry=registry).observe(1.5)
    return generate_latest(registry).decode()


def own() -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=True)
    Gauge("running", "Workers that run.", registry=registry).set(2)
    return registry


def series(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_series_is_there_once_a_worker_with_its_number() -> None:
    pages = {1: page(3), 2: page(4)}
    wanted = {("running", frozenset[tuple[str, str]]()): 2.0}
    for number, text in pages.items():
        for (name, labels), value in series(text).items():
            wanted[name, labels | {("worker", str(number))}] = value
    assert series(merge(pages, own()).decode()) == wanted


def test_every_metric_is_described_once() -> None:
    lines = merge({1: page(3), 2: page(4)}, own()).decode().splitlines()
    described = [line.split()[:3] for line in lines if line.startswith("#")]
    assert len({tuple(words) for words in described}) == len(described)
    assert ["#", "HELP", "sent_total"] in described
    assert ["#", "TYPE", "took_seconds"] in described


def test_without_an_answer_of_any_worker_the_page_still_tells_how_many_run() -> None:
    assert series(merge({}, own()).decode()) == {("running", frozenset()): 2.0}
