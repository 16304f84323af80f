"""`make chaos`: every scenario on one deployed fleet.

Exit codes: 0 all promises held, 1 one did not, 2 wrong usage, 4 the suite could not run.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from tests.chaos import report
from tests.chaos.errors import ChaosError, ScenarioError
from tests.chaos.loader import chosen, load_all
from tests.chaos.scenario import Scenario
from tests.chaos.stage import KINDS, deploy, remove
from tests.chaos.suite import left_at_the_end, play_all


@click.command(help=__doc__)
@click.option("--only", multiple=True, metavar="NAME", help="Scenarios whose name contains it.")
@click.option("--list", "listing", is_flag=True, help="Name the scenarios and their promises.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--stage", type=click.Path(path_type=Path), metavar="DIR",
              help="Use the environment in DIR, or make one there, and leave it up.")  # fmt: skip
def main(only: Sequence[str], listing: bool, output: str, stage: Path | None) -> None:
    try:
        scenarios = chosen(load_all(), only)
        if listing:
            click.echo(report.listed(scenarios))
            return
        sys.exit(_run(scenarios, output, stage))
    except ScenarioError as error:
        click.echo(f"chaos: {error}", err=True)
        sys.exit(2)
    except ChaosError as error:
        click.echo(f"chaos: {error}", err=True)
        sys.exit(4)


def _run(scenarios: Sequence[Scenario], output: str, kept: Path | None) -> int:
    begun = time.monotonic()

    def say(words: str) -> None:
        click.echo(f"{time.monotonic() - begun:6.1f} s  {words}", err=True)

    folder = kept.resolve() if kept else Path(tempfile.mkdtemp(prefix="sglctl-chaos-"))
    left: list[str] = []
    try:
        say("deploying")
        stage = deploy(folder, tuple(KINDS))
        destroyed = any(one.last for one in scenarios)
        played = asyncio.run(play_all(stage, scenarios, say))
        if not destroyed:
            left = asyncio.run(left_at_the_end(stage))
    finally:
        if kept is None:
            say("removing")
            left += _removed(folder)
    seconds = time.monotonic() - begun
    show = report.document(played, seconds, left) if output == "json" else (
        report.table(played, seconds))  # fmt: skip
    click.echo(show)
    for words in left:
        click.echo(f"left behind at the end: {words}", err=True)
    return 1 if left or any(one.problems for one in played) else 0


def _removed(folder: Path) -> list[str]:
    from tests.e2e.harness import Sglctl

    left = remove(Sglctl(folder / "checkout", folder / "state", "local", {}))
    shutil.rmtree(folder)
    return left


if __name__ == "__main__":
    main()
