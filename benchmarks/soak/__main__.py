"""`make soak`: random faults under a router, and every client outcome accounted for.

Exit codes: 0 all is accounted for, 1 something is not, 2 wrong usage, 4 the soak could not run.
"""

from __future__ import annotations

import asyncio
import sys

import click

from benchmarks.soak.fleet import SoakError
from benchmarks.soak.outcomes import ACCOUNTED, Outcome
from benchmarks.soak.run import Verdict, Wanted, soak


def table(verdict: Verdict) -> str:
    """The outcomes, what happened to the fleet, and what the router holds."""
    lines = [
        f"{outcome:<34} {verdict.outcomes[outcome]:>8}"
        for outcome in Outcome
        if verdict.outcomes[outcome] or outcome in ACCOUNTED
    ]
    total = verdict.outcomes.total()
    lines.append(f"{'requests':<34} {total:>8}  in {verdict.seconds:.0f} s")
    lines.append("chaos: " + ", ".join(f"{what} {n}" for what, n in verdict.chaos.items()))
    before, after = verdict.before, verdict.after
    lines.append(
        f"router: memory {before.memory >> 20} → {after.memory >> 20} MiB,"
        f" descriptors {before.descriptors} → {after.descriptors}"
    )
    return "\n".join(lines)


@click.command(help=__doc__)
@click.option("--requests", type=click.IntRange(min=4), default=Wanted.requests, show_default=True)
@click.option("--at-once", type=click.IntRange(min=1), default=Wanted.at_once, show_default=True)
@click.option("--workers", type=click.IntRange(min=3), default=Wanted.workers, show_default=True)
@click.option("--processes", type=click.IntRange(1, 64), default=Wanted.processes,
              show_default=True, help="Of the router; above 1 they are killed, too.")  # fmt: skip
@click.option("--seed", type=int, default=Wanted.seed, show_default=True)
def main(**wanted: int) -> None:
    try:
        verdict = asyncio.run(soak(Wanted(**wanted)))
    except SoakError as error:
        click.echo(f"soak: {error}", err=True)
        sys.exit(4)
    click.echo(table(verdict))
    for problem in verdict.problems:
        click.echo(f"not accounted for: {problem}", err=True)
    sys.exit(1 if verdict.problems else 0)


if __name__ == "__main__":
    main()
