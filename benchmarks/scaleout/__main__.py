"""`make bench-scaleout`: what a warm pool buys, and streams through all that takes hosts away.

Container hosts and real SGLang on this machine, in an environment of its own; needs root.

\b
Exit codes: 0 done, 1 a stream was truncated or failed, 2 wrong usage, 4 it could not run.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path

import click

from benchmarks import record
from benchmarks.scaleout import report
from benchmarks.scaleout.environment import deployed
from benchmarks.scaleout.errors import ScaleoutError
from benchmarks.scaleout.measure import KINDS, rounds
from benchmarks.scaleout.start import Start
from benchmarks.scaleout.streams import Outcome, through_events

Results = tuple[list[Start], list[Outcome]]
_say = partial(click.echo, err=True)


def run(
    count: int, kinds: tuple[str, ...], beside: bool, streams: int, at_once: int, tokens: int
) -> Results:
    """What was measured; of a run that breaks off, the tables of what there is are printed."""
    starts, outcomes = list[Start](), list[Outcome]()
    with deployed(_say) as environment:
        try:
            for start in rounds(environment, [KINDS[k] for k in kinds], count, beside, _say):
                starts.append(start)
            if streams:
                for outcome in through_events(environment, streams, at_once, tokens, _say):
                    outcomes.append(outcome)
        finally:
            if starts:
                click.echo(report.starts_table(starts))
            if outcomes:
                click.echo(report.outcomes_table(outcomes))
    return starts, outcomes


@click.command(help=__doc__)
@click.option("--rounds", "count", type=click.IntRange(min=0), default=3, show_default=True,
              help="Of starts; each kind once in a round.")  # fmt: skip
@click.option("--kinds", type=click.Choice([*KINDS]), multiple=True, default=[*KINDS],
              help="Of starts (repeatable); all of them unless given.")  # fmt: skip
@click.option("--beside", is_flag=True,
              help="Each warm kind beside a cold start of the same request: on a busy machine.",
)  # fmt: skip
@click.option("--streams", type=click.IntRange(min=0), default=0, show_default=True,
              help="In total, through scale-in, refresh, Spot notice and router restarts.",
)  # fmt: skip
@click.option("--at-once", type=click.IntRange(min=2), default=16, show_default=True)
@click.option("--tokens", type=click.IntRange(min=1), default=80, show_default=True,
              help="Of each stream.")  # fmt: skip
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="json: every start and event, after the tables.")  # fmt: skip
@click.option("--figure", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Draw the last round's starts, as `sglctl workers timeline` does.",
)  # fmt: skip
@click.option("--save", is_flag=True, help="Keep the run in benchmarks/results/.")
def main(
    count: int, kinds: tuple[str, ...], beside: bool, streams: int, at_once: int, tokens: int,
    figure: Path | None, output: str, save: bool,
) -> None:  # fmt: skip
    if os.geteuid() != 0:
        _say("bench-scaleout: container hosts need root")
        sys.exit(4)
    try:
        starts, outcomes = run(count, kinds, beside, streams, at_once, tokens)
        if figure is not None:
            report.draw(starts, figure)
    except ScaleoutError as error:
        _say(f"bench-scaleout: {error}")
        sys.exit(4)
    result = report.document(starts, outcomes)
    if output == "json":
        click.echo(json.dumps(result, indent=1))
    if save:
        _say(f"kept: {record.save(result, 'scaleout')}")
    sys.exit(0 if all(outcome.clean for outcome in outcomes) else 1)


if __name__ == "__main__":
    main()
