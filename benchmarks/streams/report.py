"""What a run says: a table, and one JSON document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.record import preamble
from benchmarks.streams.ask import Outcome
from benchmarks.streams.figures import Figure, figures
from benchmarks.streams.load import Shape
from benchmarks.streams.phases import Phase

ROOT = Path(__file__).resolve().parents[2]


def outcomes(phase: Phase) -> Counter[Outcome]:
    return Counter(record.outcome for record in phase.records)


def lines(phases: Sequence[Phase]) -> list[Figure]:
    return figures({phase.name: phase.left for phase in phases})


def problems(phases: Sequence[Phase]) -> list[str]:
    """Why the run does not hold; none when it does."""
    found = [
        f"{phase.name}: {count} streams {outcome}"
        for phase in phases
        for outcome, count in outcomes(phase).items()
        if outcome is not Outcome.COMPLETE
    ]
    return found + [
        f"{figure.name}: {figure.spread.max:.2f} s at most, {figure.bound_s:g} s wanted"
        for figure in lines(phases)
        if not figure.held
    ]


def table(phases: Sequence[Phase]) -> str:
    """A line for each phase, then one for each figure."""
    heads = ("streams", "at once", *Outcome, "left", "seconds")
    rows = [f"{'':10}" + "".join(f"{head:>13}" for head in heads)]
    for phase in phases:
        of = outcomes(phase)
        values = (len(phase.records), phase.most_open, *(of[outcome] for outcome in Outcome))
        numbers = "".join(f"{n:>13}" for n in (*values, len(phase.left), round(phase.seconds)))
        rows.append(f"{phase.name:10}{numbers}")
    total = sum(len(phase.records) for phase in phases)
    rows += [f"{'all':10}{total:>13}", ""]
    rows.append(f"{'seconds':36}{'workers':>8}{'p50':>8}{'p99':>8}{'max':>8}{'at most':>9}")
    for figure in lines(phases):
        of_it, bound = figure.spread, "" if figure.bound_s is None else f"{figure.bound_s:g}"
        numbers = f"{of_it.p50:>8.2f}{of_it.p99:>8.2f}{of_it.max:>8.2f}"
        state = "" if figure.bound_s is None else ("  pass" if figure.held else "  FAIL")
        rows.append(f"{figure.name:36}{of_it.count:>8}{numbers}{bound:>9}{state}")
    return "\n".join([*rows, *(f"{p.name}: {note}" for p in phases for note in p.notes)])


def document(phases: Sequence[Phase], shape: Shape, load_average: float) -> dict[str, Any]:
    """Everything measured. `load_average`: of the machine before the run, others' work on it."""
    return {
        **preamble(load_average_before=load_average),
        "shape": asdict(shape),
        "phases": [
            {
                "name": phase.name,
                "streams": len(phase.records),
                "at_once": phase.most_open,
                "seconds": round(phase.seconds, 1),
                "outcomes": {outcome: outcomes(phase)[outcome] for outcome in Outcome},
                "left": [asdict(one) for one in phase.left],
                "notes": phase.notes,
            }
            for phase in phases
        ],
        "figures": [
            {"name": f.name, **f.spread.document(), "at_most": f.bound_s, "held": f.held}
            for f in lines(phases)
        ],
        "problems": problems(phases),
    }  # fmt: skip
