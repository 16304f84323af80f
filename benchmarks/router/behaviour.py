"""`make compare-router`: what our router, sglang-router and smg do in the same situations.

Prints a Markdown table; `--write` puts it between the markers of docs/explanation/router.md.
Each cell is what was seen in one run; nothing is judged here.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import click

from benchmarks.router import page, peers
from benchmarks.router.behaviours import bytes as on_the_wire
from benchmarks.router.behaviours import failures
from benchmarks.router.behaviours.stage import ROUTERS, Setting, Stage, stage
from benchmarks.router.measure import say
from benchmarks.router.processes import raise_file_limit

MARKER = "compare-router"
_SCENARIO_S = 180.0


ONE, TWO = Setting(), Setting(workers=2)


@dataclass(frozen=True)
class Scenario:
    """A row: what is done, with what, and the coroutine that says what was seen."""

    name: str
    run: Callable[[Stage], Awaitable[str]]
    setting: Setting = ONE


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("body with an unknown field and odd spacing", on_the_wire.body_unchanged),
    Scenario("a client's own header", on_the_wire.header_unchanged),
    Scenario("64 MB body", on_the_wire.large_body),
    Scenario("`Expect: 100-continue`", on_the_wire.expect_continue),
    Scenario("Content-Length with Transfer-Encoding", on_the_wire.length_and_chunked),
    Scenario("two different Content-Lengths", on_the_wire.two_lengths),
    Scenario("bare LF in the head", on_the_wire.bare_line_feed),
    Scenario("unknown model", on_the_wire.unknown_model),
    Scenario("stream of 12 s, one token a second", failures.slow_stream),
    Scenario("worker dies mid-stream", failures.dies_mid_stream),
    Scenario("one of two workers resets every request", failures.resetting_worker, TWO),
    Scenario("one of two workers answers 503", failures.unavailable_worker, TWO),
    Scenario("one of two workers answers 500", failures.erring_worker, TWO),
    Scenario("one of two workers dead at start", failures.dead_at_start, Setting(1, dead=1)),
    Scenario("client gone before the first token", failures.client_gone),
    Scenario("client gone before a plain answer", failures.plain_client_gone),
    Scenario("200 connects at once", failures.connects_200),
    Scenario("2,000 connects at once", failures.connects_2000),
    Scenario("worker drained while it streams", failures.drain, TWO),
    Scenario("saturated: 1 runs, 2 may wait 1 s, 6 come", failures.saturation, Setting(full=True)),
    Scenario("one of four workers is slow", failures.one_slow, Setting(workers=4)),
)


async def observe(scenario: Scenario, router: str) -> str:
    """One cell. A router that does not even answer first is an observation, too."""
    async with asyncio.timeout(_SCENARIO_S), stage(router, scenario.setting) as staged:
        if staged.ready_s == float("inf") and not scenario.setting.dead:
            return "does not answer"
        return await scenario.run(staged)


async def compare(
    scenarios: Sequence[Scenario], routers: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Row → router → what was seen."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    raise_file_limit()
    seen: dict[str, dict[str, str]] = {}
    for scenario in scenarios:
        row = seen.setdefault(scenario.name, {})
        for router in routers:
            try:
                row[router] = await observe(scenario, router)
            except TimeoutError:
                row[router] = f"no end within {_SCENARIO_S:.0f} s"
            say(f"{scenario.name}: {router}: {row[router]}")
    return seen


def markdown(seen: Mapping[str, Mapping[str, str]], routers: Sequence[str]) -> str:
    """The table; versions of the others are those of requirements/bench.txt."""
    versions = dict(
        line.split()[0].split("==") for line in peers.LOCK.read_text().splitlines() if "==" in line
    )
    titles = [f"{name} {versions.get(name, '')}".strip() for name in routers]
    rows = [f"| | {' | '.join(titles)} |", "|---" * (len(routers) + 1) + "|"]
    rows += [
        f"| {name} | {' | '.join(cells[router] for router in routers)} |"
        for name, cells in seen.items()
    ]
    return "\n".join(rows)


@click.command(help=__doc__)
@click.option("--write", is_flag=True, help="Into docs/explanation/router.md.")
@click.option("--router", "routers", multiple=True, type=click.Choice(ROUTERS))
@click.option("--row", "rows", multiple=True, help="Part of a row's name; repeatable.")
def main(write: bool, routers: tuple[str, ...], rows: tuple[str, ...]) -> None:
    if write and (routers or rows):
        raise click.UsageError("--write needs every row and router")
    chosen = [s for s in SCENARIOS if not rows or any(row in s.name for row in rows)]
    try:
        seen = asyncio.run(compare(chosen, routers or ROUTERS))
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("stopped")
        raise SystemExit(130) from None
    text = markdown(seen, routers or ROUTERS)
    click.echo(text)
    if write:
        page.write(MARKER, text)


if __name__ == "__main__":
    sys.exit(main())
