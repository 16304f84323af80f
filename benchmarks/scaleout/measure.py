"""Measure starts: prepare the pool, ask for one more worker, watch until it has answered."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.scaleout.arrivals import Arrivals
from benchmarks.scaleout.environment import ON_DEMAND, Environment, Members
from benchmarks.scaleout.errors import ScaleoutError
from benchmarks.scaleout.start import Seen, Start, phases, ready_at


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
    environment: Environment,
    kinds: list[Kind],
    count: int,
    beside: bool,
    say: Callable[[str], None],
) -> Iterator[Start]:
    """Every kind once in each round, so that what else the machine does falls on all of them.

    `beside`: each warm kind together with a cold start, of one request.
    """  # fmt: skip
    environment.until(ON_DEMAND, _serving(1), "one worker in service")
    requests = [[kind] for kind in kinds]
    if beside:
        requests = [[kind, KINDS["cold"]] for kind in kinds if kind.pool]
    for number, (at, request) in itertools.product(range(count), enumerate(requests)):
        prepare(environment, request[0])
        pair = number * len(requests) + at if beside else number
        for start in measure(environment, request, pair):
            say(f"round {number + 1}: {start.kind}: {start.seen.first_token_s:.1f} s")
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


def measure(environment: Environment, kinds: list[Kind], pair: int = 0) -> list[Start]:
    """So many more workers, from the request to the first token a client gets from each."""
    members = environment.members(ON_DEMAND)
    before = frozenset(name for name, state in members.items() if state == "InService")
    used = {name: _cpu_s(environment, name) for name, state in members.items()
            if state == "Warmed:Running"}  # fmt: skip
    arrivals = Arrivals(environment, before, len(kinds))
    load_average, requested_at = round(os.getloadavg()[0], 2), time.time()
    environment.scale(ON_DEMAND, len(before) + len(kinds))
    asyncio.run(arrivals.watch())
    ready = {name: _ready_at(environment, name) for name in arrivals.in_service}
    starts = []
    for name, known_at in zip(sorted(ready, key=ready.__getitem__), arrivals.known, strict=True):
        cpu_s = _cpu_s(environment, name) - used.get(name, 0.0)
        seen = Seen(*(round(at - requested_at, 3) for at in (
            arrivals.in_service[name], known_at, arrivals.first_token[name])))  # fmt: skip
        timeline = json.loads(environment.shell(name, "sglworker state"))["timeline"]
        starts.append(Start(
            _kind_of(name, name in members, kinds), name, pair, seen,
            phases(timeline, requested_at, ready[name], seen),
            round(cpu_s, 1), load_average, timeline, environment.timeline(name),
        ))  # fmt: skip
    return starts


def _kind_of(instance_id: str, from_pool: bool, kinds: list[Kind]) -> str:
    """Raises ScaleoutError where the group launched what should have come from its pool."""
    for kind in kinds:
        if from_pool == (kind.pool is not None):
            return kind.name
    raise ScaleoutError(f"{instance_id} is no {kinds[0].name} start: {kinds[0].says}")


def _ready_at(environment: Environment, instance_id: str) -> float:
    words = "journalctl --unit=sglworker --output=short-unix --no-pager --quiet --grep='-> ready'"
    return ready_at(environment.shell(instance_id, words))


def _cpu_s(environment: Environment, instance_id: str) -> float:
    """Seconds of processor time that a host used since it booted.

    https://docs.kernel.org/admin-guide/cgroup-v2.html (cpu.stat); the guest sees its own as root.
    """
    told = environment.shell(instance_id, "cat /sys/fs/cgroup/cpu.stat")
    values = dict(line.split() for line in told.splitlines())
    return int(values["usage_usec"]) / 1e6
