"""Asks workers for their pages, and makes one page of metrics out of many."""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

import aiohttp
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

# Seconds for an answer: shorter than Prometheus (10 s) and kubelets (often 1 to 5 s) are patient.
PATIENCE = 2.0


async def ask(pages: Mapping[int, Path], path: str) -> dict[int, str]:
    """Return what the workers of *pages* answer at *path*, by their number; who refuses or keeps silent is missing."""
    async with asyncio.TaskGroup() as tasks:
        asked = {number: tasks.create_task(_ask_one(socket, path)) for number, socket in pages.items()}
    answers = {number: task.result() for number, task in asked.items()}
    return {number: answer for number, answer in answers.items() if answer is not None}


def merge(pages: Mapping[int, str], own: CollectorRegistry) -> bytes:
    """Return the metrics of *own*, and those of each worker's page with its number as the label `worker`.

    Takes about 15 us a series: not on a loop that has other things to do.
    """
    merged = CollectorRegistry(auto_describe=False)
    merged.register(own)
    merged.register(_Labelled(pages))
    return generate_latest(merged)


class _Labelled(Collector):
    """Workers' pages as one collector, each metric once."""

    def __init__(self, pages: Mapping[int, str]) -> None:
        self._pages = pages

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for number, page in self._pages.items():
            label = {"worker": str(number)}
            for found in text_string_to_metric_families(page):
                family = families.setdefault(found.name, Metric(found.name, found.documentation, found.type))
                family.samples += [sample._replace(labels=label | sample.labels) for sample in found.samples]
        yield from families.values()


async def _ask_one(socket: Path, path: str) -> str | None:
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket)), timeout=timeout) as http,
            http.get(f"http://worker{path}") as response,
        ):
            return await response.text() if response.ok else None
    except (aiohttp.ClientError, TimeoutError):
        return None
