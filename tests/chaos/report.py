"""The table at the end, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from benchmarks.soak.outcomes import Outcome
from tests.chaos.play import Played
from tests.chaos.scenario import Scenario

#: Of a broken connection; an error event counts as an explicit error.
CUT = (Outcome.CUT, Outcome.LOST)
EXPLICIT = (Outcome.REFUSED, Outcome.ERROR_EVENT)
_HEAD = ("scenario", "requests", "complete", "errors", "cut", "seconds", "verdict")


def verdict(played: Played) -> str:
    if played.skipped:
        return "skipped"
    return "failed" if played.problems else "held"


def _row(played: Played) -> tuple[str, ...]:
    seen = played.evidence
    numbers = (len(seen.requests), seen.count(Outcome.COMPLETE), seen.count(*EXPLICIT),
               seen.count(*CUT), round(played.seconds))  # fmt: skip
    return (played.scenario.name, *map(str, numbers), verdict(played))


def table(played: Sequence[Played], seconds: float) -> str:
    """One line a scenario, the reasons of failures, and a sum."""
    rows = [_HEAD, *map(_row, played)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(_cell(c, w, n) for n, (c, w) in enumerate(zip(row, widths, strict=True)))
             for row in rows]  # fmt: skip
    for one in played:
        lines += [f"{one.scenario.name}: {problem}" for problem in one.problems]
        lines += [f"{one.scenario.name}: skipped: {one.skipped}"] if one.skipped else []
    verdicts = [verdict(one) for one in played]
    counts = ", ".join(f"{verdicts.count(word)} {word}" for word in ("held", "failed", "skipped"))
    return "\n".join([*lines, f"{counts} in {seconds:.0f} s"])


def _cell(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column in (0, len(_HEAD) - 1) else text.rjust(width)


def document(played: Sequence[Played], seconds: float, left: Sequence[str]) -> str:
    """Version 1. `left`: what was left over when everything was taken down."""
    return json.dumps(
        {
            "version": 1, "seconds": round(seconds, 1), "left_behind": list(left),
            "scenarios": [
                {
                    **dict(zip(_HEAD[:-1], _numbers(one), strict=True)),
                    "fleet": one.fleet, "promise": one.scenario.promise,
                    "verdict": verdict(one), "problems": one.problems, "skipped": one.skipped,
                }
                for one in played
            ],
        },
        indent=1,
    )  # fmt: skip


def _numbers(played: Played) -> tuple[str | int, ...]:
    name, *numbers, _ = _row(played)
    return (name, *map(int, numbers))


def listed(scenarios: Sequence[Scenario]) -> str:
    width = max(len(one.name) for one in scenarios)
    return "\n".join(f"{one.name:<{width}}  {one.promise}" for one in scenarios)
