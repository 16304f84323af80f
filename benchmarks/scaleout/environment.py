"""An environment of the benchmark's own: container hosts, real SGLang, one fleet of two groups."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from benchmarks.scaleout.errors import ScaleoutError
from sglctl.aws.run_command import RunCommand
from tests.e2e.harness import (
    Sglctl,
    copy_checkout,
    emulator_client,
    emulator_endpoint,
    move_listener,
)

ON_DEMAND, SPOT = "sgl-local-chat-ondemand", "sgl-local-chat-spot"
ROUTERS = "sgl-local-router"
#: Of on-demand workers one, of Spot workers none until they are asked for.
_CAPACITY = "capacity: {min: 1, max: 6, desired: 1}"
_PURCHASE = "purchase: {on_demand_base: 3, spot_percentage: 100}"
#: Three checks of a router's health, and one that runs into its time limit.
STEADY_S = 18.0
#: Real engines start as fast as the machine lets them; a slow start is a figure, not a failure.
_LAUNCH = "launch_timeout_s: 1800"
_DEPLOY_S, _DOWN_S = 1700.0, 300.0
#: How often a group is looked at: the resolution of what is measured here.
LOOK_S = 0.2

Members = Mapping[str, str]


class Environment:
    """A deployed environment: its groups, hosts and endpoint."""

    def __init__(self, sglctl: Sglctl) -> None:
        self._sglctl = sglctl
        self.endpoint = emulator_endpoint(sglctl)
        self.autoscaling = emulator_client(self.endpoint, "autoscaling")
        self._commands = RunCommand(emulator_client(self.endpoint, "ssm"))

    @cached_property
    def url(self) -> str:
        return str(self._sglctl.json("status")["url"])

    @cached_property
    def key(self) -> str:
        return self._sglctl.run("status", "--show-key").stdout.strip()

    def has(self, group: str) -> bool:
        answer = self.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])
        return bool(answer["AutoScalingGroups"])

    def members(self, group: str) -> dict[str, str]:
        """Instance id → lifecycle state, of the group and of its warm pool."""
        answer = self.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])
        found = answer["AutoScalingGroups"][0]
        instances = list(found["Instances"])
        if "WarmPoolConfiguration" in found:
            pool = self.autoscaling.describe_warm_pool(AutoScalingGroupName=group)
            instances += pool["Instances"]
        return {item["InstanceId"]: item["LifecycleState"] for item in instances}

    def until(
        self, group: str, settled: Callable[[Members], bool], what: str, timeout_s: float = 600
    ) -> dict[str, str]:
        """The members once they are as wanted. Raises ScaleoutError at the deadline."""
        deadline = time.monotonic() + timeout_s
        while not settled(members := self.members(group)):
            if time.monotonic() > deadline:
                raise ScaleoutError(f"{group}: not {what} within {timeout_s:g} s: {members}")
            time.sleep(LOOK_S)
        return members

    def scale(self, group: str, desired: int) -> None:
        self.autoscaling.set_desired_capacity(AutoScalingGroupName=group, DesiredCapacity=desired)

    def shell(self, instance_id: str, script: str, timeout_s: float = 60) -> str:
        """What a script prints on a host. Raises ScaleoutError when it fails."""
        result = self._commands.run([instance_id], script, timeout_s=timeout_s)[instance_id]
        if not result.ok:
            raise ScaleoutError(f"{instance_id}: {result.status}: {result.stderr[-500:]}")
        return result.stdout

    def timeline(self, instance_id: str) -> dict[str, Any]:
        """What `sglctl workers timeline --output json` says, which it can draw again."""
        done = self._sglctl.run("workers", "timeline", instance_id, "--output", "json")
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def until_healthy(self, router: str, timeout_s: float) -> None:
        """Until the load balancer has sent this router requests for STEADY_S.

        A router that comes back between two checks never was unhealthy, and may be found so late.
        Raises ScaleoutError.
        """
        targets = emulator_client(self.endpoint, "elbv2")
        found = targets.describe_target_groups(Names=[ROUTERS])["TargetGroups"][0]
        steady = time.monotonic() + STEADY_S
        deadline = steady + timeout_s
        while time.monotonic() < steady:
            health = targets.describe_target_health(
                TargetGroupArn=found["TargetGroupArn"], Targets=[{"Id": router}]
            )["TargetHealthDescriptions"]
            if health[0]["TargetHealth"]["State"] != "healthy":
                steady = time.monotonic() + STEADY_S
            if time.monotonic() > deadline:
                raise ScaleoutError(f"router {router}: {health[0]['TargetHealth']}")
            time.sleep(LOOK_S)

    def tell(self, notice: str, instance_id: str) -> None:
        """Have the emulator do to an instance what only AWS does (`spot-notice` …)."""
        url = f"{self.endpoint['endpoint']}/_sglocal/{notice}/{instance_id}"
        httpx.post(url, json={}, timeout=30, trust_env=False).raise_for_status()


@contextmanager
def deployed(say: Callable[[str], None]) -> Iterator[Environment]:
    """Deploy from a copy of the working tree, and take everything down again.

    Raises ScaleoutError when it cannot be deployed.
    """
    with tempfile.TemporaryDirectory(prefix="sglctl-scaleout-") as folder:
        checkout, state = Path(folder) / "checkout", Path(folder) / "state"
        checkout.mkdir()
        state.mkdir()
        copy_checkout(checkout)
        move_listener(checkout, "local")
        _grow(checkout / "config" / "environments" / "local.yaml")
        sglctl = Sglctl(checkout, state, "local", {})
        try:
            say("deploying: container hosts, real SGLang ...")
            _run(sglctl, "deploy", "--yes", "--hosts", "containers", timeout_s=_DEPLOY_S)
            yield Environment(sglctl)
        finally:
            _run(sglctl, "local", "down", timeout_s=_DOWN_S)


def _grow(file: Path) -> None:
    text = file.read_text()
    for line, wanted in {
        r"capacity: \{[^}]*\}": f"{_CAPACITY}\n    {_PURCHASE}",
        r"launch_timeout_s: \d+": _LAUNCH,
    }.items():
        text, count = re.subn(line, wanted, text)
        if count != 1:
            raise ScaleoutError(f"{file.name}: one fleet with one `{line}` is expected")
    file.write_text(text)


def _run(sglctl: Sglctl, *words: str, timeout_s: float) -> None:
    try:
        done = sglctl.run(*words, expect=None, timeout_s=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise ScaleoutError(f"sglctl {words[0]} took longer than {timeout_s:g} s") from error
    if done.returncode != 0:
        raise ScaleoutError(f"sglctl {' '.join(words)}: exit {done.returncode}\n{done.stderr}")
