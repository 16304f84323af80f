"""`make bench-router`: our router's cost beside nginx, sglang-router and smg, line by line.

Exit codes: 0 every line holds, 1 one does not, 2 wrong usage, 4 something is missing or broke.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Sequence

import click

from benchmarks.router import report
from benchmarks.router.lab import RunError, lab
from benchmarks.router.lines import LINES, Line, judge
from benchmarks.router.measure import MEASUREMENTS, QUICK, Samples, Scale, say
from benchmarks.router.peers import MissingError


async def run(names: Sequence[str], scale: Scale) -> Samples:
    """Do the named measurements; one that breaks is told and leaves its lines unmeasured."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    samples = Samples()
    async with lab() as made:
        for name in names:
            measurement, routers = MEASUREMENTS[name]
            started = time.monotonic()
            try:
                await measurement(made, samples, scale, routers)
                say(f"{name}: {time.monotonic() - started:.0f} s")
            except (RunError, RuntimeError, TimeoutError) as error:
                say(f"{name} broke: {error or type(error).__name__}")
    return samples


def lines_of(names: Sequence[str]) -> list[Line]:
    return [line for line in LINES if not line.measurement or line.measurement in names]


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="Shows only that it works; its figures mean nothing.")
@click.option("--only", multiple=True, type=click.Choice(list(MEASUREMENTS)), help="Repeatable.")
@click.option("--rounds", type=click.IntRange(1, 100), default=5, show_default=True)
@click.option("--output", type=click.Choice(["text", "json"]), default="text")
@click.option("--save", is_flag=True, help="Keep the result in benchmarks/results.")
def main(quick: bool, only: tuple[str, ...], rounds: int, output: str, save: bool) -> None:
    names = only or tuple(MEASUREMENTS)
    scale = QUICK if quick else Scale(rounds=rounds)
    busy = os.getloadavg()[0]
    if busy > 1 and not quick:
        say(f"The machine is busy (load average {busy:.1f}): trust ratios, not figures.")
    try:
        samples = asyncio.run(run(names, scale))
    except (MissingError, RunError, RuntimeError) as error:
        raise SystemExit(_told(str(error), 4)) from error
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise SystemExit(_told("stopped", 130)) from None
    verdicts = judge(samples, lines_of(names))
    result = report.document(verdicts, samples, scale, busy)
    click.echo(json.dumps(result) if output == "json" else report.table(verdicts))
    if save:
        say(f"saved {report.save(result)}")
    sys.exit(0 if all(verdict.passed for verdict in verdicts) else 1)


def _told(text: str, code: int) -> int:
    say(f"Error: {text}")
    return code


if __name__ == "__main__":
    main()
