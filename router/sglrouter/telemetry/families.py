"""Counters, gauges and histograms that are plain dictionaries, can be added up over processes,
and are printed in Prometheus' text format.

Hand-made, because an observation on the request path must cost a dictionary update, not a lock
and a label lookup. Format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sglrouter.inner.ending import Buckets

P = "sglrouter_"  # every name of ours begins so
Labels = tuple[str | int, ...]
#: What travels between processes: [[label values, value], …] of one family.
Rows = list[list[Any]]


class Counter(defaultdict[Labels, float]):
    """One number for each combination of label values; 0 until it is counted."""

    kind = "counter"

    def __init__(self, name: str, text: str, *labels: str) -> None:
        super().__init__(int)
        self.name = name
        self.text = text
        self.labels = labels

    def dump(self) -> Rows:
        return [[list(key), value] for key, value in self.items()]

    def merge(self, rows: Rows) -> None:
        for key, value in rows:
            self[tuple(key)] += value

    def lines(self) -> Iterable[str]:
        for key, value in self.items():
            yield f"{self.name}{_braces(self.labels, key)} {_number(value)}"


class Gauge(Counter):
    """A number that is set when it is printed; `largest`: over processes not the sum, but that."""

    kind = "gauge"

    def __init__(self, name: str, text: str, *labels: str, largest: bool = False) -> None:
        super().__init__(name, text, *labels)
        self._largest = largest

    def merge(self, rows: Rows) -> None:
        if not self._largest:
            super().merge(rows)
            return
        for key, value in rows:
            self[tuple(key)] = max(value, self.get(tuple(key), value))


class Histogram:
    """One histogram of seconds per value of the label."""

    kind = "histogram"

    def __init__(self, name: str, text: str, bounds: tuple[float, ...], label: str) -> None:
        self.name = name
        self.text = text
        self.labels = (label,)
        self.bounds = bounds
        self.counts: dict[str, list[int]] = defaultdict(lambda: [0] * (len(bounds) + 1))
        self.sums: dict[str, float] = defaultdict(float)

    def buckets(self, label: str) -> Buckets:
        return (self.bounds, self.counts, self.sums, label)

    def observe(self, label: str, seconds: float) -> None:
        self.counts[label][bisect_left(self.bounds, seconds)] += 1
        self.sums[label] += seconds

    def dump(self) -> Rows:
        return [[[key], [*counts, self.sums[key]]] for key, counts in self.counts.items()]

    def merge(self, rows: Rows) -> None:
        for (key,), (*counts, total) in rows:
            self.counts[key] = [a + b for a, b in zip(self.counts[key], counts, strict=True)]
            self.sums[key] += total

    def lines(self) -> Iterable[str]:
        for key, counts in self.counts.items():
            total = 0
            for bound, count in zip((*self.bounds, "+Inf"), counts, strict=True):
                total += count
                braces = _braces((*self.labels, "le"), (key, str(bound)))
                yield f"{self.name}_bucket{braces} {total}"
            braces = _braces(self.labels, (key,))
            yield f"{self.name}_sum{braces} {self.sums[key]:.6f}"
            yield f"{self.name}_count{braces} {total}"


Family = Counter | Histogram


def _number(value: float) -> str:
    """A number without loss: `g` would round counters above a million."""
    return repr(value) if isinstance(value, int) or value != int(value) else str(int(value))


def _braces(labels: tuple[str, ...], key: Labels) -> str:
    if not labels:
        return ""
    inner = ",".join(f'{n}="{_escape(str(v))}"' for n, v in zip(labels, key, strict=True))
    return "{" + inner + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def render(families: Iterable[Family]) -> str:
    """Prometheus' text of all of them."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {family.text}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        lines.extend(family.lines())
    return "\n".join(lines) + "\n"
