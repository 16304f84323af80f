"""What happens to the fleet while streams run: one thing at a time, through AWS's API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from benchmarks.streams import events
from benchmarks.streams.figures import Leaving, leavings
from benchmarks.streams.fleet import (
    ON_DEMAND,
    ON_DEMAND_WORKERS,
    ROUTERS,
    SPOT,
    SPOT_WORKERS,
    Environment,
    RunError,
)
from benchmarks.streams.load import Load, Record, Shape

#: What scale-in leaves of the on-demand workers.
_LEFT = ON_DEMAND_WORKERS // 2
#: As a rollout does it: nothing leaves before its replacement serves.
_REFRESH = {
    "MinHealthyPercentage": 100,
    "MaxHealthyPercentage": 150,
    "InstanceWarmup": 0,
    "SkipMatching": False,
}
#: Routers have no launch hook: in service at once, they answer when they have booted.
_ROUTER_WARM_UP_S = 30
_FULL_WITHIN_S = 180.0


@dataclass(frozen=True)
class Event:
    """What was done: worker → when it was told to leave, and what else is to be known."""

    told: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    hooked: bool = True  # their hook waits for their drain


@dataclass(frozen=True)
class Phase:
    """Streams that ran, and who left meanwhile."""

    name: str
    records: list[Record]
    examples: list[str]
    most_open: int
    seconds: float
    left: list[Leaving]
    notes: tuple[str, ...]


def scale_in(made: Environment) -> Event:
    """Half of the on-demand workers leave, while AWS refuses the routers every answer."""
    fault = made.ask("POST", "faults", {"api": "DescribeInstances", "code": "RequestLimitExceeded"})
    begun = time.time()
    try:
        made.autoscaling.set_desired_capacity(AutoScalingGroupName=ON_DEMAND, DesiredCapacity=_LEFT)
        made.until("scale-in is over", lambda: made.settled(ON_DEMAND, _LEFT))
        blind = _blind_routers(made, begun)
    finally:
        made.ask("DELETE", f"faults/{fault['id']}")
    return Event(_told(made, begun), (f"DescribeInstances was refused to {blind} routers",))


def _blind_routers(made: Environment, since: float) -> int:
    """How many routers' discovery has been refused. Raises RunError when none's was."""
    hosts = [host for host in made.status()["hosts"] if host["role"] == "router"]
    count = sum(events.discovery_failed(host["log"], since) for host in hosts)
    if count != len(hosts):
        raise RunError(f"{count} of {len(hosts)} routers were refused DescribeInstances")
    return count


def refresh(made: Environment) -> Event:
    """Every on-demand worker is replaced."""
    begun, count = time.time(), len(made.members(ON_DEMAND))
    made.refresh(ON_DEMAND, _REFRESH)
    made.until("the replaced workers are gone", lambda: made.settled(ON_DEMAND, count))
    return Event(_told(made, begun))


def spot(made: Environment) -> Event:
    """EC2 takes both Spot workers back; their group launches replacements at once."""
    victims = {member["InstanceId"] for member in made.members(SPOT)}
    told = {}
    for victim in sorted(victims):
        told[victim] = time.time()
        made.ask("POST", f"spot-notice/{victim}", {})

    def replaced() -> bool:
        now = {member["InstanceId"] for member in made.members(SPOT)}
        return not victims & now and made.settled(SPOT, SPOT_WORKERS)

    made.until("Spot workers are replaced", replaced)
    return Event(told, hooked=False)  # EC2 ends them, or their group before it


def routers(made: Environment) -> Event:
    """Each router is replaced, after its replacement serves, one after the other."""
    made.refresh(ROUTERS, {**_REFRESH, "InstanceWarmup": _ROUTER_WARM_UP_S})
    made.until(
        "two new routers serve", lambda: made.settled(ROUTERS, 2) and made.healthy_routers() == 2
    )
    return Event()


def _told(made: Environment, since: float) -> dict[str, float]:
    told = events.leaving(made.log(), ON_DEMAND)
    return {worker: at for worker, at in told.items() if at >= since}


PHASES: dict[str, Callable[[Environment], Event]] = {
    "scale-in": scale_in, "refresh": refresh, "spot": spot, "routers": routers,
}  # fmt: skip


async def run(
    made: Environment, name: str, shape: Shape, numbers: Iterator[int], count: int
) -> Phase:
    """Do it while streams run: `count` of them at least, and until it is over."""
    begun = time.time()
    load = Load(made.target, shape, numbers)
    running = asyncio.create_task(load.run())
    try:
        async with asyncio.timeout(_FULL_WITHIN_S):
            await load.full()
        event = await asyncio.to_thread(PHASES[name], made)
        await load.ended(count)
    except TimeoutError as error:
        raise RunError(f"{load.most_open} of {shape.at_once} streams at once") from error
    except asyncio.CancelledError:
        made.abandoned.set()  # the thread above would go on for minutes
        raise
    finally:
        load.finish()
        await running
    left = await asyncio.to_thread(_left, made, event, load.records)
    seconds = time.time() - begun
    return Phase(name, load.records, load.examples, load.most_open, seconds, left, event.notes)


def _left(made: Environment, event: Event, records: list[Record]) -> list[Leaving]:
    chosen = events.chosen(made.consoles(), event.told)
    completed = events.completed(made.log()) if event.hooked else {}
    return leavings(event.told, chosen, completed, records)
