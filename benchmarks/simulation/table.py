"""What a run comes to: numbers per policy, lines that must hold, and their table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.simulation.fleet import Outcome

#: Requests left out at the start of a run, while all caches are cold.
WARM_UP = 0.1
#: The median of the seeds must keep the first bound, and every seed the second.
HIT_SHARE, TTFT_RATIO, ROUTERS_SHARE = (0.97, 0.96), (1.3, 1.4), (0.97, 0.96)
#: Above this share of busy prefill time in the pooled run, the fleet counts as saturated.
SATURATED = 0.85


@dataclass(frozen=True, slots=True)
class Row:
    """One policy on one workload with one seed.

    `hit`: share of prompt tokens that were cached; `ttft_*` in seconds; `imbalance`: the busiest
    worker's prefill time over the mean; `spilled`: share of requests; `busy`: share of time.
    """

    policy: str
    routers: int
    hit: float
    ttft_p50: float
    ttft_p99: float
    imbalance: float
    spilled: float
    busy: float


@dataclass(frozen=True, slots=True)
class Line:
    """A bound that must hold: of `value`, the median of the seeds, and looser of `worst`."""

    workload: str
    what: str
    value: float
    worst: float
    bound: str
    passed: bool


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[int(share * (len(ordered) - 1))]


def summarise(policy: str, routers: int, outcome: Outcome) -> Row:
    samples = outcome.samples[int(len(outcome.samples) * WARM_UP) :]
    ttft = sorted(sample.ttft for sample in samples)
    mean_busy = sum(outcome.busy_s) / len(outcome.busy_s)
    return Row(
        policy,
        routers,
        sum(sample.cached for sample in samples) / sum(sample.prompt for sample in samples),
        _quantile(ttft, 0.5),
        _quantile(ttft, 0.99),
        max(outcome.busy_s) / mean_busy,
        sum(sample.reason in ("spill", "session_full") for sample in samples) / len(samples),
        mean_busy / outcome.samples[-1].at,
    )


def _at_least(
    workload: str, what: str, values: Sequence[float], least: tuple[float, float]
) -> Line:
    value, worst = statistics.median(values), min(values)
    bound = f">= {least[0]}, each >= {least[1]}"
    return Line(workload, what, value, worst, bound, value >= least[0] and worst >= least[1])


def _at_most(workload: str, what: str, values: Sequence[float], most: tuple[float, float]) -> Line:
    value, worst = statistics.median(values), max(values)
    bound = f"<= {most[0]}, each <= {most[1]}"
    return Line(workload, what, value, worst, bound, value <= most[0] and worst <= most[1])


def _ratios(
    rows: Sequence[Row], others: Sequence[Row], number: Callable[[Row], float]
) -> list[float]:
    return [number(row) / number(other) for row, other in zip(rows, others, strict=True)]


def judge(workload: str, runs: Sequence[Sequence[Row]]) -> list[Line]:
    """The lines about `prefix_aware`, as far as `runs` (each with a row per seed) have what they
    compare. Seeds are compared one by one: of two seeds' loads neither bounds the other.
    """
    found = {(rows[0].policy, rows[0].routers): rows for rows in runs}
    own, pooled = found.get(("prefix_aware", 1)), found.get(("pooled", 1))
    lines = []
    if own and pooled:
        hits = _ratios(own, pooled, lambda row: row.hit)
        lines.append(_at_least(workload, "hit / pooled", hits, HIT_SHARE))
        if statistics.median(row.busy for row in pooled) < SATURATED:
            p99 = _ratios(own, pooled, lambda row: row.ttft_p99)
            lines.append(_at_most(workload, "p99 TTFT / pooled", p99, TTFT_RATIO))
    for (policy, routers), rows in found.items():
        if own and policy == "prefix_aware" and routers > 1:
            hits = _ratios(rows, own, lambda row: row.hit)
            lines.append(_at_least(workload, f"hit, {routers} routers / 1", hits, ROUTERS_SHARE))
    return lines


def render(title: str, runs: Sequence[Sequence[Row]], lines: Sequence[Line]) -> str:
    """The medians of the seeds as a table, and the lines below it."""
    text = [title, f"{'':28}{'hit':>7}{'TTFT p50':>10}{'p99':>9}{'imbalance':>11}{'spilled':>9}"]
    for rows in runs:
        policy, routers = rows[0].policy, rows[0].routers
        name = policy if routers == 1 else f"{policy}, {routers} routers"
        hit, p50, p99, imbalance, spilled = (
            statistics.median(getattr(row, column) for row in rows)
            for column in ("hit", "ttft_p50", "ttft_p99", "imbalance", "spilled")
        )
        text.append(
            f"{name:28}{hit:7.1%}{p50 * 1000:8.0f}ms{p99 * 1000:7.0f}ms"
            f"{imbalance:11.2f}{spilled:9.1%}"
        )
    for line in lines:
        verdict = "pass" if line.passed else "FAIL"
        text.append(
            f"  {verdict}  {line.what}: {line.value:.3f}, worst {line.worst:.3f} ({line.bound})"
        )
    return "\n".join(text)
