"""Policies against each other on workloads that are data, in a simulated fleet.

`pooled` is the bound: all workers share one cache of their common size, and the least loaded gets
a request; `pooled, least work` knows the tokens that wait on each, too. A line is judged by the
median of its seeds' ratios, and more loosely by the worst. The peers' rules are own
implementations of what their documentation says. Exit code 1: a line does not hold.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

if __package__ in (None, ""):  # run as a file
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.simulation.fleet import Simulation
from benchmarks.simulation.peers import LeastWork, SglangCacheAware, SmgCacheAware
from benchmarks.simulation.table import Line, Row, judge, render, summarise
from benchmarks.simulation.workload import Conversation, WorkerGroup, load
from sglrouter.models import PolicyName
from sglrouter.policy import Policy, make_policy
from sglrouter.policy.simple import LeastLoad

POOLED: dict[str, Callable[[], Policy]] = {"pooled": LeastLoad, "pooled, least work": LeastWork}
OWN: tuple[PolicyName, ...] = get_args(PolicyName)
PEERS: dict[str, Callable[[], Policy]] = {
    "sglang cache_aware (rule)": SglangCacheAware,
    "smg cache_aware (rule)": SmgCacheAware,
}
NAMES = (*POOLED, *OWN, *PEERS)


def maker(name: str) -> Callable[[int], Policy]:
    """What makes a router's policy."""
    if name in POOLED or name in PEERS:
        return lambda router: {**POOLED, **PEERS}[name]()
    own = next(policy for policy in OWN if policy == name)
    return lambda router: make_policy(own)


def run(
    name: str,
    groups: Sequence[WorkerGroup],
    seeds: Sequence[Sequence[Conversation]],
    routers: int = 1,
) -> list[Row]:
    """A row for each seed."""
    outcomes = (
        Simulation(groups, maker(name), routers, pooled=name in POOLED).run(conversations)
        for conversations in seeds
    )
    return [summarise(name, routers, outcome) for outcome in outcomes]


def run_file(path: Path, arguments: argparse.Namespace) -> tuple[list[list[Row]], list[Line]]:
    workload, seeds = load(path, arguments.workers)
    runs = [run(name, workload.workers, seeds) for name in arguments.policy or NAMES]
    if arguments.routers > 1:
        runs.append(run("prefix_aware", workload.workers, seeds, arguments.routers))
    lines = judge(workload.name, runs)
    if arguments.output == "table":
        held_out = "" if workload.tuned_on else " (held out: nothing was tuned on it)"
        busy = f"prefill busy {statistics.median(row.busy for row in runs[0]):.0%}"
        title = f"\n{workload.name}: {workload.about}{held_out}; {busy}"
        sys.stdout.write(render(title, runs, lines) + "\n")
        sys.stdout.flush()
    return runs, lines


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    folder = Path(__file__).parent / "workloads"
    parser.add_argument(
        "--workload",
        type=Path,
        nargs="+",
        action="extend",
        help=f"YAML generators or Mooncake traces (.jsonl); without: all of {folder.name}/",
    )
    parser.add_argument("--policy", action="append", choices=NAMES, help="may be repeated")
    parser.add_argument("--routers", type=int, default=4, help="of one more row; 1: none")
    parser.add_argument("--workers", type=int, default=8, help="of a trace")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    arguments = parser.parse_args(argv)
    arguments.workload = arguments.workload or sorted(folder.glob("*.yaml"))
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    runs, lines = {}, []
    for path in arguments.workload:
        try:
            runs[path.stem], judged = run_file(path, arguments)
        except (OSError, ValueError, KeyError) as error:
            sys.stderr.write(f"{path}: {error}\n")
            return 2
        lines += judged
    if arguments.output == "json":
        plain = {
            name: [[dataclasses.asdict(row) for row in rows] for rows in some]
            for name, some in runs.items()
        }
        document = {"runs": plain, "lines": [dataclasses.asdict(line) for line in lines]}
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    return 0 if all(line.passed for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
