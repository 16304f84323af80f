"""All scenarios on one stage: side by side on their own fleets, then those that need it alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp

from tests.chaos import host, rest
from tests.chaos.errors import ScenarioError
from tests.chaos.play import Played, Say, play
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Fleet, Stage
from tests.chaos.view import View

_STRAYS_S = 15.0


async def play_all(stage: Stage, scenarios: Sequence[Scenario], say: Say) -> list[Played]:
    """In the order of `scenarios`, whatever the order they ended in."""
    host.sweep()
    waiting = [one for one in scenarios if not (one.alone or one.last)]
    alone = [one for one in scenarios if one.alone and not one.last]
    last = [one for one in scenarios if one.last]
    done: list[Played] = []

    async def lane(fleet: Fleet) -> None:
        while (one := next_for(fleet, waiting)) is not None:
            waiting.remove(one)
            done.append(await _told(stage, fleet, one, say))

    await asyncio.gather(*(lane(fleet) for fleet in stage.fleets))
    if waiting:
        raise ScenarioError(f"{waiting[0].name}: no fleet of the stage is {waiting[0].fleet}")
    for one in [*alone, *last]:
        fleet = next(f for f in stage.fleets if next_for(f, [one]) is not None)
        done.append(await _told(stage, fleet, one, say))
    order = {one.name: number for number, one in enumerate(scenarios)}
    return sorted(done, key=lambda played: order[played.scenario.name])


def next_for(fleet: Fleet, waiting: Sequence[Scenario]) -> Scenario | None:
    """What is played next on a fleet: what only such a fleet can play first, the longest first.

    The fleet with a warm pool plays nothing else: each of its workers brings another.
    """
    own = [one for one in waiting if one.fleet == fleet.kind]
    free = [] if fleet.kind == "warm" else [one for one in waiting if one.fleet == "any"]
    return next(iter(sorted(own, key=_length) or sorted(free, key=_length)), None)


def _length(scenario: Scenario) -> float:
    waits = [getattr(action, "within_s", 0.0) + action.at for action in scenario.actions]
    return -sum(waits) - scenario.expect.converges_in_s


async def _told(stage: Stage, fleet: Fleet, scenario: Scenario, say: Say) -> Played:
    say(f"{scenario.name}: begins on fleet {fleet.name}")
    played = await play(stage, fleet, scenario, say)
    if played.skipped:
        say(f"{scenario.name}: skipped, {played.skipped}")
    else:
        words = "held" if not played.problems else "FAILED: " + played.problems[0]
        say(f"{scenario.name}: {words[:300]} ({played.seconds:.0f} s)")
    return played


async def left_at_the_end(stage: Stage) -> list[str]:
    """Faults in force, packet filters of ours, and processes of hosts that are no more."""
    async with aiohttp.ClientSession(trust_env=False) as http:
        view = View(stage, http)

        async def look() -> list[str]:
            faults = (await view.json(f"{stage.emulator}/_sglocal/faults"))["faults"]
            alive = [one.name for one in stage.hosts.iterdir()]
            return [*(f"fault {row}" for row in faults), *view.strays(alive)]

        wrong = await rest.until_nothing(look, _STRAYS_S)
    return [*wrong, *(f"nft table {name}" for name in host.own_tables())]
