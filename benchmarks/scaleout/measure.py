"""Measure starts: prepare the pool, ask for one more worker, watch until it has answered."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx

from benchmarks.scaleout.environment import LOOK_S, ON_DEMAND, Environment, Members
from benchmarks.scaleout.errors import ScaleoutError
from benchmarks.scaleout.start import Seen, Start, phases, ready_at

_START_S, _TOKEN_S = 1800.0, 120.0
#: The load balancer asks one router after the other: so many in a row, and each of them knows.
_ROUTERS = 2
#: So many requests at once that the new worker, which is idle, gets one of them.
_PROBES = 4


@dataclass(frozen=True)
class Kind:
    """Where the next worker comes from. `pool`: its pool's state, None: launched.

    `returned`: it served before, and came back to its pool at a scale-in.
    """

    name: str
    says: str
    pool: str | None = None
    returned: bool = False


KINDS = {
    kind.name: kind
    for kind in (
        Kind("cold", "launched from the image"),
        Kind("filled", "stopped in the pool, which had launched it; its engine never ran",
             "Stopped"),
        Kind("returned", "stopped in the pool, to which a scale-in had returned it", "Stopped",
             returned=True),
        Kind("running", "running in the pool, its engine stopped; returned by a scale-in",
             "Running", returned=True),
    )
}  # fmt: skip


def rounds(
    environment: Environment, kinds: list[Kind], count: int, say: Callable[[str], None]
) -> Iterator[Start]:
    """Every kind once in each round, so that what else the machine does falls on all of them."""
    environment.until(ON_DEMAND, _serving(1), "one worker in service")
    for number, kind in itertools.product(range(1, count + 1), kinds):
        prepare(environment, kind)
        start = measure(environment, kind)
        say(f"round {number}: {kind.name}: first token after {start.seen.first_token_s:.1f} s")
        yield start
    _pool(environment, None)


def prepare(environment: Environment, kind: Kind) -> None:
    """One worker in service, and in the pool what the kind needs."""
    if kind.returned and not _serving(2)(environment.members(ON_DEMAND)):
        _pool(environment, None)
        environment.scale(ON_DEMAND, 2)
        environment.until(ON_DEMAND, _serving(2), "two workers in service")
    if not kind.returned:
        _pool(environment, None)
    if kind.pool is not None:
        _pool(environment, kind.pool)


def _pool(environment: Environment, state: str | None) -> None:
    """One worker in service and one in a pool of this state; None: no prepared instance."""
    environment.autoscaling.put_warm_pool(
        AutoScalingGroupName=ON_DEMAND, MinSize=0, PoolState=state or "Stopped",
        MaxGroupPreparedCapacity=2 if state else 1,
        InstanceReusePolicy={"ReuseOnScaleIn": state is not None},
    )  # fmt: skip
    environment.scale(ON_DEMAND, 1)
    wanted = sorted(["InService", *([f"Warmed:{state}"] if state else [])])
    environment.until(
        ON_DEMAND, lambda members: sorted(members.values()) == wanted, f"settled as {wanted}"
    )


def _serving(count: int) -> Callable[[Members], bool]:
    return lambda members: list(members.values()).count("InService") >= count


def measure(environment: Environment, kind: Kind) -> Start:
    """One more worker, from the request to the first token a client gets from it."""
    members = environment.members(ON_DEMAND)
    before = {name for name, state in members.items() if state == "InService"}
    used = {name: _cpu_s(environment, name) for name, state in members.items()
            if state == "Warmed:Running"}  # fmt: skip
    load_average, requested_at = round(os.getloadavg()[0], 2), time.time()
    environment.scale(ON_DEMAND, 2)
    in_service_s, routable_s, instance_id = _arrival(environment, before, requested_at)
    first_token_s = asyncio.run(_first_token(environment, instance_id)) - requested_at
    seen = Seen(round(in_service_s, 3), round(routable_s, 3), round(first_token_s, 3))
    cpu_s = _cpu_s(environment, instance_id) - used.get(instance_id, 0.0)
    state = json.loads(environment.shell(instance_id, "sglworker state"))
    journal = environment.shell(
        instance_id,
        "journalctl --unit=sglworker --output=short-unix --no-pager --quiet --grep='-> ready'",
    )
    rows = phases(state["timeline"], requested_at, ready_at(journal), seen)
    drawing = environment.timeline(instance_id)
    return Start(
        kind.name, instance_id, seen, rows, round(cpu_s, 1), load_average, state["timeline"],
        drawing,
    )  # fmt: skip


def _cpu_s(environment: Environment, instance_id: str) -> float:
    """Seconds of processor time that a host used since it booted.

    https://docs.kernel.org/admin-guide/cgroup-v2.html (cpu.stat); the guest sees its own as root.
    """
    told = environment.shell(instance_id, "cat /sys/fs/cgroup/cpu.stat")
    values = dict(line.split() for line in told.splitlines())
    return int(values["usage_usec"]) / 1e6


def _arrival(
    environment: Environment, before: set[str], requested_at: float
) -> tuple[float, float, str]:
    """Seconds until InService, until the routers knew, and whose they are."""
    in_service, routable, instance_id, knew = None, None, "", 0
    with httpx.Client(timeout=10, trust_env=False) as client:
        while in_service is None or routable is None:
            members = environment.members(ON_DEMAND)
            arrived = [n for n, s in members.items() if s == "InService" and n not in before]
            now = time.time() - requested_at
            if in_service is None and arrived:
                in_service, instance_id = now, arrived[0]
            health = client.get(f"{environment.url}/health").json()
            now = time.time() - requested_at
            knew = knew + 1 if health["ready_workers"] > len(before) else 0
            if routable is None and knew == _ROUTERS:
                routable = now
            if now > _START_S:
                raise ScaleoutError(f"no second worker served within {_START_S:g} s")
            time.sleep(LOOK_S)
    return in_service, routable, instance_id


async def _first_token(environment: Environment, instance_id: str) -> float:
    """When a client got its first token from this worker, in seconds of the epoch."""
    headers = {"Authorization": f"Bearer {environment.key}"}
    deadline = time.monotonic() + _TOKEN_S
    async with httpx.AsyncClient(timeout=60, headers=headers, trust_env=False) as client:
        for number in itertools.count():
            asked = (_ask(client, environment.url, f"{number}.{i}") for i in range(_PROBES))
            got = [at for worker, at in await asyncio.gather(*asked) if worker == instance_id]
            if got:
                return min(got)
            if time.monotonic() > deadline:
                raise ScaleoutError(f"no router sent a request to {instance_id}")
    raise AssertionError("unreachable")


async def _ask(client: httpx.AsyncClient, url: str, words: str) -> tuple[str, float]:
    """Who answered, and when its first token came."""
    body = {
        "model": "tiny", "stream": True, "max_tokens": 16, "ignore_eos": True,
        "messages": [{"role": "user", "content": f"{words}: who are you?"}],
    }  # fmt: skip
    async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line.startswith("data: {") and json.loads(line[6:])["choices"][0]["delta"].get(
                "content"
            ):
                return response.headers["x-sglctl-worker"], time.time()
    return "", 0.0  # a model of random weights may say nothing that is text
