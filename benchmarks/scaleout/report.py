"""What a run says: tables, and one JSON document with every start and every event."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.record import preamble
from benchmarks.scaleout.errors import ScaleoutError
from benchmarks.scaleout.measure import KINDS
from benchmarks.scaleout.start import ROWS, Start
from benchmarks.scaleout.streams import Outcome
from sglctl.core.table import table

ROOT = Path(__file__).resolve().parents[2]
COLD = "cold"
#: Figures from the request on: what a client or an operator waits for.
TOTALS = {
    "request to InService": "in_service_s",
    "request to routable": "routable_s",
    "request to first token": "first_token_s",
}
LIMITS = (
    "What this machine cannot show: a cold volume of EC2 is read over the network once (here all"
    " weights and programs are in its page cache), a GPU starts (driver, CUDA graphs), weights are"
    " gigabytes (here 0.4 MB)."
)


def starts_table(starts: Sequence[Start]) -> str:
    """Medians in seconds with the spread over the rounds, a column for each kind of start."""
    kinds = list(dict.fromkeys(start.kind for start in starts))
    rows = [
        [name, *(_median([s.phases[name] for s in starts if s.kind == kind and name in s.phases])
                 for kind in kinds)]
        for name in ROWS
    ]  # fmt: skip
    rows += [
        [name, *(_median([getattr(s.seen, field) for s in starts if s.kind == kind])
                 for kind in kinds)]
        for name, field in TOTALS.items()
    ]  # fmt: skip
    for name, field in (("processor time of the host", "cpu_s"),
                        ("load average at the request", "load_average")):  # fmt: skip
        values = [[getattr(s, field) for s in starts if s.kind == kind] for kind in kinds]
        rows.append([name, *map(_median, values)])
    if COLD in kinds:
        first = [ratios(starts, kind, lambda s: s.seen.first_token_s) for kind in kinds]
        cpu = [ratios(starts, kind, lambda s: s.cpu_s) for kind in kinds]
        rows.append(["first token, ratio to cold", *map(_ratio, first)])
        rows.append(["processor time, ratio to cold", *map(_ratio, cpu)])
    legend = [f"{kind}: {KINDS[kind].says}" for kind in kinds]
    return "\n".join([*table([["seconds", *kinds], *rows]), "", *legend, "", LIMITS])


def _median(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{statistics.median(values):.1f} ({min(values):.1f}..{max(values):.1f})"


def _ratio(found: Sequence[float]) -> str:
    if not found:
        return "-"
    return f"{statistics.median(found):.2f} ({min(found):.2f}..{max(found):.2f})"


def ratios(starts: Sequence[Start], kind: str, figure: Callable[[Start], float]) -> list[float]:
    """A figure of this kind to that of the cold start it is compared with, for each."""
    cold = {start.pair: figure(start) for start in starts if start.kind == COLD}
    those = [start for start in starts if start.kind == kind and start.pair in cold]
    return [figure(start) / cold[start.pair] for start in those]


def outcomes_table(outcomes: Sequence[Outcome]) -> str:
    """One line for each event, and their sum."""
    rows = [
        [o.event, str(o.streams), str(o.under_way), str(o.during), str(o.workers),
         str(len(o.truncated)), str(len(o.failed)), f"{o.seconds:.0f} s"]
        for o in outcomes
    ]  # fmt: skip
    total = [sum(len(o.truncated) for o in outcomes), sum(len(o.failed) for o in outcomes)]
    streams = str(sum(o.streams for o in outcomes))
    rows.append(["total", streams, "", "", "", *(str(number) for number in total), ""])
    names = ["event", "streams", "under way", "begun until its end", "workers", "truncated",
             "failed", "took"]  # fmt: skip
    examples = [one.error for o in outcomes for one in (*o.truncated, *o.failed)][:5]
    return "\n".join([*table([names, *rows]), *examples])


def document(starts: Sequence[Start], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Everything measured."""
    return {
        **preamble(),
        "starts": [asdict(start) for start in starts],
        "first_token_ratios_to_cold": {
            kind: [round(r, 3) for r in ratios(starts, kind, lambda s: s.seen.first_token_s)]
            for kind in dict.fromkeys(start.kind for start in starts)
        },
        "events": [_told(outcome) for outcome in outcomes],
    }


def _told(outcome: Outcome) -> Mapping[str, Any]:
    told = asdict(outcome)
    return {**told, "seconds": round(outcome.seconds, 1)}


def _named(drawing: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """All are of one fleet: the kind of start stands in its place."""
    named = "launched" if kind == COLD else kind
    result = drawing["result"]
    arrivals = [{**arrival, "fleet": named} for arrival in result["arrivals"]]
    return {**drawing, "result": {**result, "arrivals": arrivals}}


def draw(starts: Sequence[Start], file: Path) -> None:
    """The last start of each kind, by `sglctl workers timeline`. Raises ScaleoutError."""
    last = {start.kind: start.drawing for start in starts}
    with tempfile.TemporaryDirectory(prefix="sglctl-scaleout-") as folder:
        command = [sys.executable, "-m", "sglctl", "workers", "timeline", "--svg", str(file)]
        for kind, drawing in last.items():
            saved = Path(folder) / f"{kind}.json"
            saved.write_text(json.dumps(_named(drawing, kind)))
            command += ["--from", str(saved)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise ScaleoutError(f"the figure was not drawn: {done.stderr}")
