"""What a run comes to: numbers per policy, lines that must hold, and their table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.simulation.fleet import Outcome

#: Requests left out at the start of a run, while all caches are cold.
WARM_UP = 0.1
HIT_SHARE, TTFT_RATIO, ROUTERS_SHARE = 0.97, 1.3, 0.97
#: Above this share of busy prefill time in the pooled run, the fleet counts as saturated.
SATURATED = 0.85


@dataclass(frozen=True, slots=True)
class Row:
    """One policy on one workload, the mean over its seeds.

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
    """A bound that must hold."""

    workload: str
    what: str
    value: float
    bound: str
    passed: bool


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[int(share * (len(ordered) - 1))]


def _row(policy: str, routers: int, outcome: Outcome) -> Row:
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


def summarise(policy: str, routers: int, outcomes: Sequence[Outcome]) -> Row:
    rows = [_row(policy, routers, outcome) for outcome in outcomes]

    def mean(name: str) -> float:
        return sum(float(getattr(row, name)) for row in rows) / len(rows)

    names = ("hit", "ttft_p50", "ttft_p99", "imbalance", "spilled", "busy")
    return Row(policy, routers, *(mean(name) for name in names))


def judge(workload: str, rows: Sequence[Row]) -> list[Line]:
    """The lines about `prefix_aware`, as far as `rows` has what they compare."""
    found = {(row.policy, row.routers): row for row in rows}
    own, pooled = found.get(("prefix_aware", 1)), found.get(("pooled", 1))
    lines = []
    if own and pooled:
        share = own.hit / pooled.hit
        lines.append(Line(workload, "hit / pooled", share, f">= {HIT_SHARE}", share >= HIT_SHARE))
        ratio = own.ttft_p99 / pooled.ttft_p99
        if pooled.busy < SATURATED:
            passed = ratio <= TTFT_RATIO
            lines.append(Line(workload, "p99 TTFT / pooled", ratio, f"<= {TTFT_RATIO}", passed))
    for (policy, routers), row in found.items():
        if own and policy == "prefix_aware" and routers > 1:
            share, what = row.hit / own.hit, f"hit, {routers} routers / 1"
            passed = share >= ROUTERS_SHARE
            lines.append(Line(workload, what, share, f">= {ROUTERS_SHARE}", passed))
    return lines


def render(title: str, rows: Sequence[Row], lines: Sequence[Line]) -> str:
    text = [title, f"{'':28}{'hit':>7}{'TTFT p50':>10}{'p99':>9}{'imbalance':>11}{'spilled':>9}"]
    for row in rows:
        name = row.policy if row.routers == 1 else f"{row.policy}, {row.routers} routers"
        text.append(
            f"{name:28}{row.hit:7.1%}{row.ttft_p50 * 1000:8.0f}ms{row.ttft_p99 * 1000:7.0f}ms"
            f"{row.imbalance:11.2f}{row.spilled:9.1%}"
        )
    for line in lines:
        verdict = "pass" if line.passed else "FAIL"
        text.append(f"  {verdict}  {line.what}: {line.value:.3f} (bound {line.bound})")
    return "\n".join(text)
