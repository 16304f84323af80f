"""Whether a fleet is as wanted, at rest, and alone: words for everything that is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError

from tests.chaos.stage import Fleet
from tests.chaos.view import GAUGES, Host, View, of_fleet

UNANSWERED = (aiohttp.ClientError, BotoCoreError, ClientError, OSError, TimeoutError)
POLL_S = 0.5

Look = Callable[[], Awaitable[list[str]]]


async def until_nothing(look: Look, within_s: float) -> list[str]:
    """Look again until nothing is wrong; what still is at the deadline."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            wrong = await look()
        except UNANSWERED as error:
            wrong = [f"unanswered: {error!r}"]
        if not wrong or time.monotonic() >= deadline:
            return wrong
        await asyncio.sleep(POLL_S)


async def not_converged(view: View, fleet: Fleet, workers: int) -> list[str]:
    """Group, agents and routers against the wanted number of workers."""
    group = await view.group(fleet.group)
    wrong = [f"desired is {group.desired}"] if group.desired != workers else []
    wrong += [f"{name} is {state}" for name, state in group.members.items() if state != "InService"]
    wrong += [f"{name} is unhealthy" for name in group.sick]
    if len(group.in_service()) != workers:
        wrong.append(f"{len(group.in_service())} of {workers} workers are in service")
    if await view.refreshing(fleet.group):
        wrong.append("an instance refresh is active")
    if fleet.kind == "warm":
        wrong += await _not_warm(view, fleet)
    return wrong or await _not_routable(view, fleet, group.in_service())


async def _not_warm(view: View, fleet: Fleet) -> list[str]:
    pool = await view.warm_pool(fleet.group)
    wrong = [f"{name} is {state}" for name, state in pool.items() if state != "Warmed:Stopped"]
    return wrong or ([] if pool else ["the warm pool is empty"])


async def _not_routable(view: View, fleet: Fleet, workers: list[str]) -> list[str]:
    """Each agent is ready, and each router chooses from exactly these workers."""
    hosts = await view.hosts()
    addresses = {host.instance_id: host.address for host in hosts}
    routers = [host for host in hosts if host.role == "router"]
    wrong = [f"{name} has no host" for name in workers if name not in addresses]
    if wrong:
        return wrong
    states = await asyncio.gather(*(view.agent(addresses[name]) for name in workers))
    wrong = [
        f"the agent of {name} is {state['state']}: {state['reason']}"
        for name, state in zip(workers, states, strict=True) if state["state"] != "ready"
    ]  # fmt: skip
    return wrong + await not_chosen(view, fleet, [r.address for r in routers], workers)


async def not_chosen(
    view: View, fleet: Fleet, routers: Sequence[str], workers: Sequence[str]
) -> list[str]:
    """Routers, by address, that know or choose others than these workers, sorted by id."""
    wrong = []
    for router in routers:
        known = await view.known_to(router, fleet)
        chosen = sorted(name for name, row in known.items() if row["chosen_from"])
        if chosen != list(workers) or len(known) != len(workers):
            wrong.append(f"router {router} knows {sorted(known)}, chooses {chosen}")
    return wrong


async def routers_wrong(view: View, count: int) -> list[str]:
    """The routers' group is whole, and the load balancer sends to all of them."""
    group = await view.group("sgl-local-router")
    wrong = [f"{name} is {state}" for name, state in group.members.items() if state != "InService"]
    if len(group.members) != count:
        wrong.append(f"{len(group.members)} of {count} routers")
    if await view.refreshing("sgl-local-router"):
        wrong.append("a refresh of the routers is active")
    targets = await view.targets()
    wrong += [
        f"target {name} is {targets.get(name, 'not registered')}"
        for name in group.members if targets.get(name) != "healthy"
    ]  # fmt: skip
    return wrong


async def not_at_rest(view: View, fleet: Fleet) -> list[str]:
    """Requests in flight or queued at routers, agents or engines while nobody asks."""
    hosts = await view.hosts()
    wrong = []
    for host in hosts:
        if host.role == "router":
            wrong += await _busy_router(view, host, fleet)
        elif host.fleet == fleet.name:
            wrong += await _busy_worker(view, host)
    return wrong


async def _busy_router(view: View, router: Host, fleet: Fleet) -> list[str]:
    found = [
        (name, value) for name, labels, value in await view.router_samples(router.address)
        if name in GAUGES and of_fleet(labels, fleet)
    ]  # fmt: skip
    if not {"sglrouter_in_flight", "sglrouter_queue_depth"} <= {name for name, _ in found}:
        return [f"router {router.instance_id} tells no gauges of {fleet.name}"]
    return [f"router {router.instance_id}: {name} {value:g}" for name, value in found if value]


async def _busy_worker(view: View, host: Host) -> list[str]:
    agent, engine = await asyncio.gather(view.agent(host.address), view.engine(host.address))
    counts = {
        "agent in_flight": agent["in_flight"], "agent queued": agent["queued"],
        "engine running": engine["running"], "engine queued": engine["queued"],
    }  # fmt: skip
    return [f"{host.instance_id}: {name} {n}" for name, n in counts.items() if n]


async def left_behind(view: View, fleet: Fleet) -> list[str]:
    """Hosts that no group wants, and processes of hosts that are no more."""
    hosts, group = await view.hosts(), await view.group(fleet.group)
    wanted = set(group.members)
    if fleet.kind == "warm":
        wanted |= set(await view.warm_pool(fleet.group))
    extra = [h.instance_id for h in hosts if h.fleet == fleet.name and h.instance_id not in wanted]
    return [f"host {name}" for name in extra]
