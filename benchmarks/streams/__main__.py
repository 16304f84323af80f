"""`make bench-streams`: streams through scale-in, refresh, Spot notices and router restarts.

Exit codes: 0 no stream broke and every figure held, 1 otherwise, 2 wrong usage, 4 it could not run.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import uvloop
from botocore.exceptions import BotoCoreError, ClientError

from benchmarks import record
from benchmarks.router.processes import raise_file_limit
from benchmarks.streams import report
from benchmarks.streams.fleet import RunError, deployed
from benchmarks.streams.load import Shape
from benchmarks.streams.phases import PHASES, Phase, run


def measure(folder: Path, shape: Shape, streams: int, names: Sequence[str]) -> list[Phase]:
    """Deploy, do one phase after the other, take down. Raises RunError."""
    numbers = itertools.count(1)
    share = -(-streams // len(names))
    phases = []
    click.echo("deploying ten workers and two routers (about 3 minutes)", err=True)
    with deployed(folder, shape) as made:
        for name in names:
            click.echo(f"{name}: {shape.at_once} streams at once", err=True)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                phases.append(runner.run(run(made, name, shape, numbers, share)))
            for example in phases[-1].examples:
                click.echo(f"  {example}", err=True)
    return phases


@click.command(help=__doc__)
@click.option("--streams", type=click.IntRange(min=1), default=10_000, show_default=True,
              help="In total; more where something takes longer.")  # fmt: skip
@click.option("--at-once", type=click.IntRange(min=1), default=800, show_default=True)
@click.option("--tokens", type=click.IntRange(min=1), default=50, show_default=True,
              help="Of each stream.")  # fmt: skip
@click.option("--itl-ms", type=click.IntRange(min=1), default=200, show_default=True,
              help="Between two tokens of a stream.")  # fmt: skip
@click.option("--only", type=click.Choice(list(PHASES)), multiple=True,
              help="Nothing is saved then.")  # fmt: skip
def main(streams: int, at_once: int, tokens: int, itl_ms: int, only: tuple[str, ...]) -> None:
    shape = Shape(at_once, tokens, itl_ms / 1000, "tiny")
    load_average = os.getloadavg()[0]
    raise_file_limit()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is deployed is taken down
    try:
        with tempfile.TemporaryDirectory(prefix="bench-streams-") as folder:
            phases = measure(Path(folder), shape, streams, only or list(PHASES))
    except (RunError, BotoCoreError, ClientError) as error:
        click.echo(f"bench-streams: {error}", err=True)
        sys.exit(4)
    click.echo(report.table(phases))
    if not only:
        click.echo(record.save(report.document(phases, shape, load_average), "streams"))
    for problem in (found := report.problems(phases)):
        click.echo(f"does not hold: {problem}", err=True)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
