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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import click

from benchmarks import record
from benchmarks.router import page, report
from benchmarks.router.lab import RunError, lab
from benchmarks.router.lines import LINES, Line, judge
from benchmarks.router.measure import MEASUREMENTS, QUICK, Samples, Scale, say
from benchmarks.router.peers import MissingError
from benchmarks.router.simulation import SimulatedLine, simulate

SIMULATION = "simulation"
MARKER = "bench-router"


@dataclass
class Outcome:
    """What a run has found so far; a stopped one keeps what it had."""

    samples: Samples = field(default_factory=Samples)
    simulated: list[SimulatedLine] | None = None
    stopped: bool = False


async def run(names: Sequence[str], scale: Scale) -> Outcome:
    """Do what is named; what breaks is told and leaves its lines unmeasured."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    outcome = Outcome()
    try:
        await _measure(names, scale, outcome)
    except asyncio.CancelledError:
        outcome.stopped = True
    return outcome


async def _measure(names: Sequence[str], scale: Scale, outcome: Outcome) -> None:
    measured = [name for name in names if name != SIMULATION]
    if measured:
        async with lab() as made:
            for name in measured:
                measurement, routers = MEASUREMENTS[name]
                with told(name):
                    await measurement(made, outcome.samples, scale, routers)
    if SIMULATION in names:
        with told(SIMULATION):
            outcome.simulated = await simulate()


@contextmanager
def told(name: str) -> Iterator[None]:
    """Say how long it took, or why it broke, and go on."""
    started = time.monotonic()
    try:
        yield
        say(f"{name}: {time.monotonic() - started:.0f} s")
    except (RunError, RuntimeError, TimeoutError) as error:
        say(f"{name} broke: {error or type(error).__name__}")


def lines_of(names: Sequence[str]) -> list[Line]:
    """Those that rest on the named measurements; the line about errors rests on any."""
    measured = set(names) & set(MEASUREMENTS)
    if not measured:
        return []
    return [line for line in LINES if line.measurement in {"", *measured}]


@dataclass(frozen=True)
class Output:
    """Where the result goes beside stdout."""

    as_json: bool
    save: bool
    write: bool


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="Shows only that it works; its figures mean nothing.")
@click.option(
    "--only", multiple=True, type=click.Choice([*MEASUREMENTS, SIMULATION]), help="Repeatable."
)
@click.option("--rounds", type=click.IntRange(1, 100), default=5, show_default=True)
@click.option("--output", type=click.Choice(["text", "json"]), default="text")
@click.option("--save", is_flag=True, help="Keep the result in benchmarks/results.")
@click.option("--write", is_flag=True, help="Put the table into docs/explanation/router.md.")
def main(
    quick: bool, only: tuple[str, ...], rounds: int, output: str, save: bool, write: bool
) -> None:
    if write and (quick or only):
        raise click.UsageError("--write needs every line, at full scale")
    names = only or (*MEASUREMENTS, *(() if quick else (SIMULATION,)))
    scale = QUICK if quick else Scale(rounds=rounds)
    busy = os.getloadavg()[0]
    if busy > 1 and not quick:
        say(f"The machine is busy (load average {busy:.1f}): trust ratios, not figures.")
    try:
        outcome = asyncio.run(run(names, scale))
    except (MissingError, RunError, RuntimeError) as error:
        raise SystemExit(_told(str(error), 4)) from error
    _show(outcome, names, scale, busy, Output(output == "json", save, write))


def _show(
    outcome: Outcome, names: Sequence[str], scale: Scale, busy: float, output: Output
) -> None:
    """Print, keep and exit; a run that was stopped prints what it has and is not kept."""
    simulated = outcome.simulated or []
    verdicts = judge(outcome.samples, lines_of(names))
    result = report.document(verdicts, simulated, outcome.samples, scale, busy)
    text = report.table(verdicts, simulated) + report.failures(outcome.samples)
    click.echo(json.dumps(result) if output.as_json else text)
    if outcome.stopped:
        raise SystemExit(_told("stopped", 130))
    if output.save:
        say(f"saved {record.save(result, 'router')}")
    if output.write:
        page.write(MARKER, f"```\n{text}\n```")
    held = all(verdict.passed for verdict in verdicts)
    if SIMULATION in names:
        held = held and bool(simulated) and all(line.passed for line in simulated)
    sys.exit(0 if held else 1)


def _told(text: str, code: int) -> int:
    say(f"Error: {text}")
    return code


if __name__ == "__main__":
    main()
