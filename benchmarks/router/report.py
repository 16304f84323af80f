"""What a run says: a table, or one JSON document with every sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.record import preamble
from benchmarks.router.lines import Verdict
from benchmarks.router.measure import Samples, Scale
from benchmarks.router.peers import LOCK
from benchmarks.router.simulation import SimulatedLine

_STATES = {True: "pass", False: "FAIL", None: "not measured"}


def _number(value: float) -> str:
    if value == 0:
        return "0"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"


def table(verdicts: Sequence[Verdict], simulated: Sequence[SimulatedLine] = ()) -> str:
    """One line per promise; below it, the medians it rests on."""
    rows = [f"{'':62} {'measured':>9} {'spread':>13} {'at most':>8}"]
    for verdict in verdicts:
        line, value = verdict.line, verdict.value
        measured = "-" if value is None else _number(value) + line.unit
        spread = "" if value is None else f"{_number(verdict.low)}..{_number(verdict.high)}"
        bound = _number(line.bound) + line.unit
        state = _STATES[verdict.passed]
        rows.append(f"{line.name:62} {measured:>9} {spread:>13} {bound:>8}  {state}")
        if verdict.detail:
            parts = (f"{router} {_number(number)}" for router, number in verdict.detail.items())
            rows.append(f"    {line.detail}: {', '.join(parts)}")
    for item in simulated:
        name = f"simulated, {item.workload}: {item.what}"
        state = _STATES[item.passed]
        worst = f"worst {item.worst:.3f}"
        rows.append(f"{name:62} {item.value:>9.3f} {worst:>13} {item.bound:>8}  {state}")
    return "\n".join(rows)


def failures(samples: Samples) -> str:
    """Which requests failed where; '' when none did."""
    parts = [
        f"{measure}: {router} {count}"
        for measure, of in samples.errors.items()
        for router, count in of.items()
        if count
    ]
    return f"\nfailed requests: {', '.join(parts)}" if parts else ""


def document(
    verdicts: Sequence[Verdict],
    simulated: Sequence[SimulatedLine],
    samples: Samples,
    scale: Scale,
    load_average: float,
) -> dict[str, Any]:
    """Everything measured. `load_average` is the machine's before the run: others' work on it."""
    return {
        **preamble(load_average_before=load_average),
        "peers": [line.split()[0] for line in LOCK.read_text().splitlines() if _is_peer(line)],
        "scale": vars(scale),
        "lines": [
            {
                "name": v.line.name,
                "at_most": v.line.bound,
                "unit": v.line.unit,
                "measured": v.value,
                "low": v.low,
                "high": v.high,
                "result": _STATES[v.passed],
            }
            for v in verdicts
        ],
        "simulated": [vars(item) for item in simulated],
        "samples": samples.values,
        "errors": samples.errors,
    }


def _is_peer(line: str) -> bool:
    return line.startswith(("sglang-router==", "smg=="))
