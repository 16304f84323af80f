"""Counters and histograms of one router process, printed in Prometheus' text format.

Hand-made, because an observation on the request path must cost a dictionary update, not a lock
and a label lookup. Format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping

# Seconds; fine where time to first token lives, long where whole generations do.
FIRST_BYTE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3, 5, 10, 20, 40, 80, 160)
REQUEST_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)

Sample = tuple[Mapping[str, str], float]


class Histogram:
    """One histogram per label value."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts: dict[str, list[int]] = defaultdict(lambda: [0] * (len(bounds) + 1))
        self.sums: dict[str, float] = defaultdict(float)

    def observe(self, label: str, seconds: float) -> None:
        self.counts[label][bisect_left(self.bounds, seconds)] += 1
        self.sums[label] += seconds


class Metrics:
    """What a router process counts. Gauges are read when they are printed."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str, int], int] = defaultdict(int)
        self.retries: dict[tuple[str, str], int] = defaultdict(int)
        self.failures: dict[tuple[str, str], int] = defaultdict(int)
        self.disconnects: dict[tuple[str, str], int] = defaultdict(int)
        self.truncations: dict[tuple[str, str], int] = defaultdict(int)
        self.discovery_errors = 0
        self.key_errors = 0
        self.first_byte = Histogram(FIRST_BYTE_BUCKETS)
        self.request = Histogram(REQUEST_BUCKETS)

    def answered(self, route: str, fleet: str, status: int) -> None:
        self.requests[(route, fleet, status)] += 1

    def attempt_failed(self, fleet: str, cause: str) -> None:
        self.failures[(fleet, cause)] += 1

    def retried(self, fleet: str, cause: str) -> None:
        self.retries[(fleet, cause)] += 1

    def disconnected(self, fleet: str, phase: str) -> None:
        self.disconnects[(fleet, phase)] += 1

    def truncated(self, fleet: str, how: str) -> None:
        self.truncations[(fleet, how)] += 1


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        inner = ",".join(f'{key}="{_escape(item)}"' for key, item in labels.items())
        lines.append(f"{name}{{{inner}}} {value:g}" if inner else f"{name} {value:g}")
    return "\n".join(lines) + "\n"


def histogram_family(name: str, text: str, histogram: Histogram) -> str:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} histogram"]
    for label, counts in histogram.counts.items():
        total = 0
        for bound, count in zip((*histogram.bounds, "+Inf"), counts, strict=True):
            total += count
            lines.append(f'{name}_bucket{{fleet="{_escape(label)}",le="{bound}"}} {total}')
        lines.append(f'{name}_sum{{fleet="{_escape(label)}"}} {histogram.sums[label]:.6f}')
        lines.append(f'{name}_count{{fleet="{_escape(label)}"}} {total}')
    return "\n".join(lines) + "\n"


def pairs(counter: Mapping[tuple[str, str], int], second: str) -> Iterable[Sample]:
    return [({"fleet": fleet, second: value}, n) for (fleet, value), n in counter.items()]


def render_counters(metrics: Metrics) -> str:
    """The counters and histograms as text; the gauges are `exposition.render`'s."""
    p = "sglrouter_"
    requests = [
        ({"route": route, "fleet": fleet, "status": str(status)}, float(n))
        for (route, fleet, status), n in metrics.requests.items()
    ]
    return "".join(
        [
            family(f"{p}requests_total", "counter", "Requests answered.", requests),
            family(
                f"{p}attempt_failures_total",
                "counter",
                "Attempts that ended before a worker's first byte.",
                pairs(metrics.failures, "cause"),
            ),
            family(
                f"{p}retries_total",
                "counter",
                "Requests given to another worker.",
                pairs(metrics.retries, "cause"),
            ),
            family(
                f"{p}disconnects_total",
                "counter",
                "Clients gone before their answer was whole.",
                pairs(metrics.disconnects, "phase"),
            ),
            family(
                f"{p}truncations_total",
                "counter",
                "Answers that broke after their first byte, and how the client was told.",
                pairs(metrics.truncations, "told_by"),
            ),
            family(
                f"{p}discovery_errors_total",
                "counter",
                "Failed reads of the set of workers.",
                [({}, metrics.discovery_errors)],
            ),
            family(
                f"{p}key_errors_total",
                "counter",
                "Failed reads of the API keys.",
                [({}, metrics.key_errors)],
            ),
            histogram_family(
                f"{p}first_byte_seconds",
                "Time from the whole request to the worker's first byte.",
                metrics.first_byte,
            ),
            histogram_family(
                f"{p}request_seconds",
                "Time from the whole request to the end of its answer.",
                metrics.request,
            ),
        ]
    )
