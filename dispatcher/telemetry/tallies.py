"""Counters and histograms for what happens to every message: a few times cheaper than the client library's own.

Those take a lock for each change, which threads need; these belong to the event loop's thread. They are read like any
other collector, on any thread.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from math import inf
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from typing_extensions import override


class Count:
    """One series of a `TallyCounter`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, amount: int = 1) -> None:
        """Count *amount* more."""
        self.value += amount


class Spread:
    """One series of a `TallyHistogram`."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count *value* where it belongs."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


_Series = TypeVar("_Series", Count, Spread)


class _Tally(Collector, Generic[_Series]):
    def __init__(self, name: str, documentation: str, labelnames: Sequence[str], registry: CollectorRegistry) -> None:
        self._name = name
        self._documentation = documentation
        self._labelnames = labelnames
        self._series: dict[tuple[str, ...], _Series] = {}
        registry.register(self)

    def labels(self, *values: str) -> _Series:
        """Return the series with these labels; to be kept by whoever counts in it often."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = self._begin()
        return series

    def _begin(self) -> _Series:
        raise NotImplementedError


class TallyCounter(_Tally[Count]):
    """A counter with labels."""

    @override
    def _begin(self) -> Count:
        return Count()

    @override
    def collect(self) -> Iterable[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labelnames)
        for labels, series in list(self._series.items()):
            family.add_metric(labels, series.value)
        yield family


class TallyHistogram(_Tally[Spread]):
    """A histogram with labels; *buckets* are the upper bounds, the last of which, infinity, goes without saying."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Sequence[str],
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._bounds = tuple(buckets)
        self._written = [floatToGoString(bound) for bound in (*buckets, inf)]  # type: ignore[no-untyped-call]
        super().__init__(name, documentation, labelnames, registry)

    @override
    def _begin(self) -> Spread:
        return Spread(self._bounds)

    @override
    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labelnames)
        for labels, series in list(self._series.items()):
            total = series.total
            family.add_metric(labels, list(zip(self._written, accumulate(series.counts), strict=True)), total)
        yield family
