"""The environment that a run is about: deployed by `sglctl`, asked through AWS's API."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from benchmarks.streams.client import Target
from benchmarks.streams.load import Shape
from tests.e2e.harness import (
    Sglctl,
    copy_checkout,
    emulator_client,
    emulator_endpoint,
    free_port,
)

ENVIRONMENT, FLEET = "local", "chat"
ON_DEMAND, SPOT = f"sgl-{ENVIRONMENT}-{FLEET}-ondemand", f"sgl-{ENVIRONMENT}-{FLEET}-spot"
ROUTERS = f"sgl-{ENVIRONMENT}-router"
#: Workers before the first phase.
ON_DEMAND_WORKERS, SPOT_WORKERS = 8, 2
_COMMAND_S = 900.0
_LOOK_S = 0.5


class RunError(Exception):
    """The run itself broke: what was to happen did not."""


def configure(checkout: Path, shape: Shape) -> None:
    """Write the environment's file: stub engines on on-demand and Spot workers, two routers."""
    file = checkout / "config" / "environments" / f"{ENVIRONMENT}.yaml"
    document = yaml.safe_load(file.read_text())
    total = ON_DEMAND_WORKERS + SPOT_WORKERS
    document["router"] |= {"count": 2, "listener_port": free_port()}
    document["fleets"][FLEET] |= {
        "engine": "stub",
        "engine_args": [
            "--stub-itl-ms", f"{shape.itl_s * 1000:g}", "--max-running-requests", "1024",
            "--max-total-tokens", "1000000",
        ],
        "capacity": {"min": 1 + SPOT_WORKERS, "max": 2 * total, "desired": total},
        "purchase": {"on_demand_base": ON_DEMAND_WORKERS, "spot_percentage": 100},
        "max_in_flight_per_worker": 1024,
        "drain_deadline_s": 300,
    }  # fmt: skip
    file.write_text(yaml.safe_dump(document, sort_keys=False))


@dataclass(frozen=True)
class Environment:
    """A deployed environment. Methods block; boto3's errors pass through."""

    sglctl: Sglctl
    where: dict[str, Any]
    target: Target
    abandoned: threading.Event = field(default_factory=threading.Event)

    def until(self, what: str, holds: Callable[[], bool], within_s: float = 600.0) -> None:
        """Look twice a second. Raises RunError when it does not hold in time, or is given up."""
        deadline = time.monotonic() + within_s
        while not holds():
            if time.monotonic() > deadline:
                raise RunError(f"not within {within_s:g} s: {what}")
            if self.abandoned.wait(_LOOK_S):
                raise RunError(f"given up: {what}")

    @property
    def folder(self) -> Path:
        return self.sglctl.state / ENVIRONMENT / "local"

    @property
    def autoscaling(self) -> Any:
        return emulator_client(self.where, "autoscaling")

    def log(self) -> list[str]:
        """The emulator's log."""
        return (self.folder / "daemon.log").read_text(errors="replace").splitlines()

    def consoles(self) -> list[Path]:
        """What hosts printed, also those that have ended."""
        return [*self.folder.glob("hosts/*/log/console.log"), *self.folder.glob("logs/*.log")]

    def members(self, group: str) -> list[dict[str, Any]]:
        """The group's instances, as DescribeAutoScalingGroups tells them."""
        answer = self.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])
        return list(answer["AutoScalingGroups"][0]["Instances"])

    def settled(self, group: str, count: int) -> bool:
        """Whether it has `count` instances in service, and none that comes or goes."""
        states = [member["LifecycleState"] for member in self.members(group)]
        return states == ["InService"] * count

    def refresh(self, group: str, preferences: dict[str, Any]) -> None:
        """Replace every instance of the group; returns when that is over. Raises RunError."""
        started = self.autoscaling.start_instance_refresh(
            AutoScalingGroupName=group, Preferences=preferences
        )["InstanceRefreshId"]

        def over() -> bool:
            found = self.autoscaling.describe_instance_refreshes(
                AutoScalingGroupName=group, InstanceRefreshIds=[started]
            )["InstanceRefreshes"][0]
            if found["Status"] in ("Failed", "Cancelled", "RollbackFailed"):
                raise RunError(f"refresh of {group}: {found}")
            return bool(found["Status"] == "Successful")

        self.until(f"the refresh of {group} is over", over)

    def ask(self, method: str, route: str, document: dict[str, Any] | None = None) -> Any:
        """One of the emulator's own routes, `/_sglocal/<route>`; its answer."""
        return _ask(self.where, method, route, document)

    def status(self) -> Any:
        return self.ask("GET", "status")

    def healthy_routers(self) -> int:
        """How many routers the load balancer sends to."""
        targets = [t for one in self.status()["load_balancers"] for t in one["targets"]]
        return sum(target["state"] == "healthy" for target in targets)


def _sglctl(sglctl: Sglctl, *args: str) -> str:
    result = sglctl.run(*args, expect=None, timeout_s=_COMMAND_S)
    if result.returncode != 0:
        raise RunError(f"sglctl {' '.join(args)}: exit {result.returncode}\n{result.stderr}")
    return result.stdout


@contextmanager
def deployed(folder: Path, shape: Shape) -> Iterator[Environment]:
    """Deploy into `folder`, and take everything down at the end, whatever happens."""
    sglctl = Sglctl(copy_checkout(folder / "checkout"), folder / "state", ENVIRONMENT, {})
    configure(sglctl.root, shape)
    try:
        _sglctl(sglctl, "deploy", "--yes", "--hosts", "processes", "--skip-tests")
        key = _sglctl(sglctl, "status", "--show-key").strip()
        where = emulator_endpoint(sglctl)
        made = Environment(sglctl, where, _target(where, key))
        made.until("all workers serve", lambda: _complete(made))
        yield made
    except subprocess.TimeoutExpired as error:
        raise RunError(f"{error.cmd}: not over within {error.timeout:g} s") from error
    finally:
        sglctl.run("local", "down", expect=None, timeout_s=180)


def _complete(made: Environment) -> bool:
    return (
        made.settled(ON_DEMAND, ON_DEMAND_WORKERS)
        and made.settled(SPOT, SPOT_WORKERS)
        and made.healthy_routers() == 2
    )


def _target(where: dict[str, Any], key: str) -> Target:
    url = httpx.URL(_ask(where, "GET", "status")["load_balancers"][0]["url"])
    assert url.port is not None
    return Target(url.host, url.port, key)


def _ask(
    where: dict[str, Any], method: str, route: str, document: dict[str, Any] | None = None
) -> Any:
    url = f"{where['endpoint']}/_sglocal/{route}"
    try:
        answer = httpx.request(method, url, json=document, timeout=30, trust_env=False)
    except httpx.TransportError as error:
        raise RunError(f"{method} {url}: {error!r}") from error
    if answer.status_code != 200:
        raise RunError(f"{method} {url}: {answer.status_code} {answer.text}")
    return answer.json()
