"""The promises: one line each, judged from samples. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.router.measure import Samples
from benchmarks.router.peers import NGINX, OURS, OURS_TWO, SGLANG

Judge = Callable[[Samples], "list[float]"]


@dataclass(frozen=True)
class Line:
    """`judge` yields one value per round; their median may be `bound` at most.

    `measurement` names what must have run, `detail` the measure whose medians explain the line.
    """

    name: str
    measurement: str
    bound: float
    unit: str
    judge: Judge
    detail: str = ""


@dataclass(frozen=True)
class Verdict:
    """`passed` None: not measured. `low` and `high`: the spread over the rounds."""

    line: Line
    value: float | None
    low: float
    high: float
    detail: dict[str, float]

    @property
    def passed(self) -> bool | None:
        return None if self.value is None else self.value <= self.line.bound


def _ratio(measure: str, router: str, to: str) -> Judge:
    """Of the same round, so that a slow minute weighs on both."""

    def judge(samples: Samples) -> list[float]:
        of = samples.values.get(measure, {})
        pairs = zip(of.get(router, []), of.get(to, []), strict=False)
        return [ours / other for ours, other in pairs if other > 0]

    return judge


def _value(measure: str, router: str, divisor: float = 1.0) -> Judge:
    def judge(samples: Samples) -> list[float]:
        return [v / divisor for v in samples.values.get(measure, {}).get(router, [])]

    return judge


def _sum(measures: Sequence[str], router: str) -> Judge:
    def judge(samples: Samples) -> list[float]:
        columns = [samples.values.get(m, {}).get(router, []) for m in measures]
        return [sum(values) for values in zip(*columns, strict=False)]

    return judge


def _ratio_of_medians(measure: str, router: str, to: str) -> Judge:
    """For differences of two noisy figures: a single round's may be near zero."""

    def judge(samples: Samples) -> list[float]:
        of = samples.values.get(measure, {})
        if not of.get(router) or not of.get(to):
            return []
        other = statistics.median(of[to])
        return [statistics.median(of[router]) / other] if other > 0 else []

    return judge


def _errors(samples: Samples) -> list[float]:
    ours = [of[OURS] for of in samples.errors.values() if OURS in of]
    return [float(sum(ours))] if ours else []


_SMALL, _LARGE = "request_2k_cpu_us", "request_64k_cpu_us"
LINES: tuple[Line, ...] = (
    Line(
        "CPU per request, 2 KB unique prompts, to nginx",
        *("requests", 2.0, "x", _ratio(_SMALL, OURS, NGINX), _SMALL),
    ),
    Line(
        "CPU per request, 2 KB unique prompts, to sglang-router",
        *("requests", 1 / 3, "x", _ratio(_SMALL, OURS, SGLANG), _SMALL),
    ),
    Line(
        "CPU per streamed token, 100 streams x 20 ms, to nginx",
        *("tokens", 1.2, "x", _ratio("token_cpu_us", OURS, NGINX), "token_cpu_us"),
    ),
    Line(
        "added p50 at one connection, to nginx",
        *("latency", 1.7, "x", _ratio_of_medians("added_p50_us", OURS, NGINX), "added_p50_us"),
    ),
    Line(
        "CPU per request, 64 KB prompts, to nginx",
        *("large", 2.2, "x", _ratio(_LARGE, OURS, NGINX), _LARGE),
    ),
    Line(
        "resident memory per unique 2 KB prompt",
        *("memory", 1.0, "KB", _value("memory_bytes", OURS, 1024), "memory_bytes"),
    ),
    # An index that still grew would need 16 bytes a block: megabytes, not the allocator's noise.
    Line(
        "growth once the index is full",
        *("cap", 256.0, "KB", _value("memory_at_cap_bytes", OURS, 1024), "memory_at_cap_bytes"),
    ),
    Line(
        "2,000 simultaneous connections: stalled connects and errors",
        *("connections", 0.0, "", _sum(("connect_stalled", "connect_errors"), OURS)),
        "connect_max_ms",
    ),
    Line(
        "CPU per request with two processes, to one",
        *("processes", 1.15, "x", _ratio("processes_cpu_us", OURS_TWO, OURS), "processes_cpu_us"),
    ),
    Line("our requests that failed, all measurements", "", 0.0, "", _errors),
)


def judge(samples: Samples, lines: Sequence[Line] = LINES) -> list[Verdict]:
    """A verdict per line, in order."""
    return [_verdict(line, samples) for line in lines]


def _verdict(line: Line, samples: Samples) -> Verdict:
    values = line.judge(samples)
    of = samples.values.get(line.detail, {})
    detail = {router: statistics.median(numbers) for router, numbers in of.items() if numbers}
    if not values:
        return Verdict(line, None, 0.0, 0.0, detail)
    return Verdict(line, statistics.median(values), min(values), max(values), detail)
