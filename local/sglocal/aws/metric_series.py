"""Aggregated data points of metrics, one for each period, from moto's data.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.models import MetricDatum

from sglocal.aws.alarm_state import aggregate
from sglocal.aws.metric_math import MetricMathError, Series, evaluate, names


@dataclass(frozen=True)
class Metric:
    """One metric and the statistic of it that is wanted. `dimensions`: all of them."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]
    statistic: str


@dataclass(frozen=True)
class Query:
    """One of a set of metrics (`metric`) and expressions (`expression`) by id."""

    name: str
    metric: Metric | None
    expression: str
    returned: bool


@dataclass(frozen=True)
class Window:
    """`count` periods of `period` seconds, the last of which ended at or before `now`."""

    period: int
    count: int
    now: float

    @property
    def end(self) -> float:
        return self.now // self.period * self.period

    def place(self, moment: float) -> int | None:
        """The number of the period that a moment is in, None outside."""
        if moment >= self.end:
            return None
        place = self.count - 1 - int((self.end - 1e-6 - moment) // self.period)
        return place if 0 <= place < self.count else None


def points(metric: Metric, data: Iterable[Any], window: Window) -> Series:
    """One aggregated value for each period, the oldest first."""
    values: list[list[float]] = [[] for _ in range(window.count)]
    for datum in data:
        if datum.name != metric.name or datum.namespace != metric.namespace:
            continue
        place = window.place(seconds_of(datum.timestamp))
        if place is None or not isinstance(datum, MetricDatum):
            continue
        if metric.dimensions == {(d.name, d.value) for d in datum.dimensions}:
            values[place].append(float(datum.value))
    return [aggregate(metric.statistic, each) for each in values]


def result(queries: Sequence[Query], data: Iterable[Any], window: Window) -> Series:
    """The series of the query that is returned. Raises MetricMathError."""
    series = {q.name: points(q.metric, data, window) for q in queries if q.metric is not None}
    waiting = {q.name: q.expression for q in queries if q.metric is None}
    returned = next((query.name for query in queries if query.returned), None)
    if returned is None:
        raise MetricMathError("metric math: no query returns data")
    for _ in range(len(waiting)):  # an expression may use another that comes later
        for name, expression in list(waiting.items()):
            if not names(expression) & (waiting.keys() - {name}):
                series[name] = evaluate(expression, series, window.count)
                del waiting[name]
    if waiting:
        raise MetricMathError(f"metric math: {sorted(waiting)} need each other")
    return series[returned]


def seconds_of(timestamp: datetime) -> float:
    """Seconds since the epoch; moto's times without a zone are UTC."""
    aware = timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)
    return aware.timestamp()
