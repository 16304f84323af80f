"""What a fleet is like now, asked of the emulator, its agents, engines and routers."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.chaos.stage import Fleet, Stage

TIMEOUT = aiohttp.ClientTimeout(total=3)
#: Gauges of a router that say that somebody of the fleet is still served.
GAUGES = ("sglrouter_in_flight", "sglrouter_queue_depth", "sglrouter_worker_in_flight")
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Host:
    """A running instance with a host."""

    instance_id: str
    address: str
    role: str
    fleet: str
    lifecycle: str


@dataclass(frozen=True)
class Group:
    """An Auto Scaling group. `members`: instance id -> lifecycle state; `sick`: not Healthy."""

    desired: int
    members: Mapping[str, str]
    sick: tuple[str, ...]

    def in_service(self) -> list[str]:
        return sorted(name for name, state in self.members.items() if state == "InService")


class View:
    """Reads only. Methods raise one of `rest.UNANSWERED` when there is no answer."""

    def __init__(self, stage: Stage, http: aiohttp.ClientSession) -> None:
        self.stage, self.http = stage, http
        self.groups = stage.client("autoscaling")
        self._admin = {"Authorization": f"Bearer {stage.admin_key}"}

    async def json(self, url: str, headers: Mapping[str, str] | None = None) -> Any:
        async with self.http.get(url, headers=headers, timeout=TIMEOUT) as answer:
            answer.raise_for_status()
            return await answer.json(content_type=None)

    async def text(self, url: str) -> str:
        async with self.http.get(url, timeout=TIMEOUT) as answer:
            answer.raise_for_status()
            return await answer.text()

    async def hosts(self) -> list[Host]:
        """Every host, of all roles and fleets."""
        status = await self.json(f"{self.stage.emulator}/_sglocal/status")
        return [
            Host(h["instance_id"], h["address"], h["role"] or "", h["fleet"] or "",
                 h["lifecycle_state"] or "")
            for h in status["hosts"] if h["state"] not in ("terminated", "stopped")
        ]  # fmt: skip

    async def targets(self) -> dict[str, str]:
        """Health of the load balancer's targets."""
        status = await self.json(f"{self.stage.emulator}/_sglocal/status")
        found = [t for balancer in status["load_balancers"] for t in balancer["targets"]]
        return {target["id"]: target["state"] for target in found}

    async def group(self, name: str) -> Group:
        answer = await asyncio.to_thread(
            self.groups.describe_auto_scaling_groups, AutoScalingGroupNames=[name]
        )
        found = answer["AutoScalingGroups"][0]
        rows = found["Instances"]
        return Group(
            found["DesiredCapacity"],
            {row["InstanceId"]: row["LifecycleState"] for row in rows},
            tuple(row["InstanceId"] for row in rows if row["HealthStatus"] != "Healthy"),
        )

    async def warm_pool(self, name: str) -> dict[str, str]:
        """Instances of the group's warm pool -> lifecycle state."""
        answer = await asyncio.to_thread(self.groups.describe_warm_pool, AutoScalingGroupName=name)
        return {row["InstanceId"]: row["LifecycleState"] for row in answer["Instances"]}

    async def refreshing(self, name: str) -> bool:
        answer = await asyncio.to_thread(
            self.groups.describe_instance_refreshes, AutoScalingGroupName=name
        )
        active = ("Pending", "InProgress", "Cancelling", "RollbackInProgress", "Baking")
        return any(row["Status"] in active for row in answer["InstanceRefreshes"])

    async def agent(self, address: str) -> dict[str, Any]:
        state: dict[str, Any] = await self.json(f"http://{address}:30080/state")
        return state

    async def engine(self, address: str) -> dict[str, Any]:
        state: dict[str, Any] = await self.json(f"http://{address}:30000/stub/state")
        return state

    async def engine_starts(self, address: str) -> int:
        """How often the engine of a host was started, as its agent was told."""
        found = samples(await self.text(f"http://{address}:30080/metrics"))
        starts = [value for name, _, value in found if name == "sglworker_engine_starts_total"]
        return int(sum(starts))

    async def known_to(self, router: str, fleet: Fleet) -> dict[str, dict[str, Any]]:
        """The fleet's workers as a router sees them, by instance id."""
        document = await self.json(f"http://{router}:8001/workers", self._admin)
        return {row["id"]: row for row in document["workers"] if row["fleet"] == fleet.name}

    async def router_samples(self, router: str) -> list[tuple[str, str, float]]:
        return samples(await self.text(f"http://{router}:8001/metrics"))

    async def counters(self, fleet: Fleet, names: Iterable[str]) -> dict[str, float]:
        """Sums over the routers (of this fleet, where a metric has a fleet) and its agents.

        A host that does not answer counts nothing.
        """
        wanted, sums = frozenset(names), dict.fromkeys(names, 0.0)
        if not wanted:
            return sums
        hosts = await self.hosts()
        urls = [f"http://{h.address}:8001/metrics" for h in hosts if h.role == "router"]
        urls += [f"http://{h.address}:30080/metrics" for h in hosts if h.fleet == fleet.name]
        for text in await asyncio.gather(*map(self.text, urls), return_exceptions=True):
            if isinstance(text, BaseException):
                continue
            for name, labels, value in samples(text):
                key = f"{name}{{{labels}}}" if f"{name}{{{labels}}}" in wanted else name
                if key in wanted and ('fleet="' not in labels or of_fleet(labels, fleet)):
                    sums[key] += value
        return sums

    def strays(self, alive: Iterable[str]) -> list[str]:
        """Processes of hosts that are no more."""
        marker = f"SGLOCAL_HOST={self.stage.hosts}/".encode()
        known = {name.encode() for name in alive}
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            name = _host_of(process, marker)
            if name and name not in known:
                found.append(f"process {process.name} of {name.decode()}")
        return found


def _host_of(process: Path, marker: bytes) -> bytes:
    """The instance whose host the process is of; empty when it is of none, or has ended."""
    try:
        if process.stat().st_uid != os.getuid():
            return b""
        environ = (process / "environ").read_bytes()
    except OSError:
        return b""
    return next(
        (line.removeprefix(marker) for line in environ.split(b"\0") if line.startswith(marker)), b""
    )


def samples(text: str) -> list[tuple[str, str, float]]:
    """Prometheus' text format: name, labels as they stand, value."""
    return [(name, labels, float(value)) for name, labels, value in _SAMPLE.findall(text)]


def of_fleet(labels: str, fleet: Fleet) -> bool:
    return f'fleet="{fleet.name}"' in labels
