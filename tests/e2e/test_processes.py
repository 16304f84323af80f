"""Process hosts and the stub engine: prod's own file, a stub fleet that scales, faults."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.harness import (
    Sglctl,
    emulator_client,
    emulator_endpoint,
    leftovers,
    move_listener,
)

pytestmark = pytest.mark.timeout(1200)

GROUP = "sgl-local-chat-ondemand"


def set_desired(autoscaling: Any, count: int) -> None:
    autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=count)


def warm_pool(autoscaling: Any) -> list[dict[str, Any]]:
    answer = autoscaling.describe_warm_pool(AutoScalingGroupName=GROUP)
    return list(answer["Instances"])


def warm_members(autoscaling: Any) -> list[str]:
    return [member["LifecycleState"] for member in warm_pool(autoscaling)]


def warm_ids(autoscaling: Any) -> list[str]:
    return [member["InstanceId"] for member in warm_pool(autoscaling)]


def agent_state(local: Sglctl, instance_id: str) -> dict[str, Any] | None:
    """What its agent says; None while nobody answers."""
    where = emulator_endpoint(local)["endpoint"]
    hosts = httpx.get(f"{where}/_sglocal/status", timeout=30, trust_env=False).json()["hosts"]
    address = next(host["address"] for host in hosts if host["instance_id"] == instance_id)
    try:
        answer = httpx.get(f"http://{address}:30080/state", timeout=5, trust_env=False)
    except httpx.TransportError:
        return None
    told: dict[str, Any] = answer.json()
    return told


def serving(autoscaling: Any, local: Sglctl) -> set[str]:
    """Instances in service whose agent is ready and whose engine answers."""
    (group,) = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])[
        "AutoScalingGroups"
    ]
    ids = [m["InstanceId"] for m in group["Instances"] if m["LifecycleState"] == "InService"]
    told = {instance_id: agent_state(local, instance_id) for instance_id in ids}
    return {name for name, one in told.items() if one and one["state"] == "ready" and answers(one)}


def answers(told: dict[str, Any]) -> bool:
    health = httpx.get(f"{told['engine_url']}/health", timeout=5, trust_env=False)
    return health.status_code == 200


def until(what: str, holds: Callable[[], bool], within_s: float = 240.0) -> None:
    """Look twice a second, whatever the machine is busy with."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def local(checkout: Path, state: Path) -> Iterator[Sglctl]:
    """A stub fleet on process hosts, deployed."""
    move_listener(checkout, "local")
    sglctl = Sglctl(checkout, state, "local", {})
    try:
        sglctl.run("deploy", "--yes", "--hosts", "processes")
        yield sglctl
    finally:
        sglctl.run("local", "down", expect=None, timeout_s=120)


def test_process_hosts_say_what_is_not_exercised(local: Sglctl) -> None:
    again = local.run("deploy", "--yes", "--skip-tests")
    assert "Ansible, systemd and testinfra are not exercised" in again.stdout + again.stderr


def test_a_stub_fleet_scales_from_two_to_four_routable_workers(local: Sglctl) -> None:
    local.run("scale", "--min", "2", "--yes")
    assert local.json("status")["ready_workers"] == 2
    local.run("scale", "--min", "4", "--yes")
    assert local.json("status")["ready_workers"] == 4
    local.run("plan", expect=0)


@pytest.fixture(params=["Stopped", "Running"])
def pool(local: Sglctl, request: pytest.FixtureRequest) -> Iterator[tuple[Any, str]]:
    """A warm pool beside two workers, to which scale-in returns them; its client and state."""
    local.run("scale", "--min", "1", "--desired", "2", "--yes")
    autoscaling = emulator_client(emulator_endpoint(local), "autoscaling")
    state = str(request.param)
    autoscaling.put_warm_pool(
        AutoScalingGroupName=GROUP, PoolState=state, MinSize=0, MaxGroupPreparedCapacity=2,
        InstanceReusePolicy={"ReuseOnScaleIn": True},
    )  # fmt: skip
    try:
        yield autoscaling, state
    finally:
        autoscaling.delete_warm_pool(AutoScalingGroupName=GROUP, ForceDelete=True)
        until("the pool is gone", lambda: not warm_members(autoscaling))


def test_a_worker_goes_back_to_the_warm_pool_and_serves_again_twice(
    local: Sglctl, pool: tuple[Any, str]
) -> None:
    """Its engine stops and starts as its agent wants; the instance stays the same."""
    for _ in range(2):
        there_and_back(local, *pool, workers=2)


def there_and_back(local: Sglctl, autoscaling: Any, state: str, workers: int) -> None:
    set_desired(autoscaling, workers - 1)
    until("a worker is warm", lambda: warm_members(autoscaling) == [f"Warmed:{state}"])
    (warm,) = warm_ids(autoscaling)
    if state == "Running":
        told = agent_state(local, warm)
        assert told is not None
        assert told["state"] == "warmed"
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{told['engine_url']}/health", trust_env=False)
    set_desired(autoscaling, workers)
    until("it serves again", lambda: warm in serving(autoscaling, local))
    assert warm_members(autoscaling) == []


def test_scale_beyond_its_own_maximum_changes_nothing(local: Sglctl) -> None:
    file = local.root / "config" / "environments" / "local.yaml"
    before = file.read_text()
    refused = local.run("scale", "--min", "9", "--yes", expect=3)
    assert re.search(r"local\.yaml:\d+: fleets\.chat\.capacity", refused.stderr)
    assert file.read_text() == before


def test_configure_says_why_it_cannot_configure_processes(local: Sglctl) -> None:
    refused = local.run("configure", "--yes", expect=4)
    assert "processes" in refused.stderr


def test_dry_runs_change_nothing(local: Sglctl) -> None:
    before = local.json("status")
    for command in (["deploy"], ["destroy"], ["apply"], ["scale", "--min", "1"]):
        local.run(*command, "--dry-run", "--yes")
    assert local.json("status")["groups"] == before["groups"]
    local.run("plan", expect=0)


def test_ctrl_c_during_an_apply_leaves_no_lock(local: Sglctl) -> None:
    """The next command converges."""
    command = [sys.executable, "-m", "sglctl", "scale", "--min", "3", "--desired", "3", "--yes"]
    process = subprocess.Popen(
        command, cwd=local.root, env=local.env(), stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "Planning" in line or "Applying" in line:
            break
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    local.run("scale", "--min", "3", "--desired", "3", "--yes")
    assert local.json("status")["ready_workers"] == 3


def test_a_killed_emulator_is_reported_and_deploy_converges(local: Sglctl, state: Path) -> None:
    where: dict[str, Any] = json.loads((state / "local" / "local" / "endpoint.json").read_text())
    os.kill(int(where["pid"]), signal.SIGKILL)
    assert "does not answer" in local.run("status", expect=11).stderr
    local.run("deploy", "--yes")
    local.run("destroy", "--yes")
    assert leftovers(state, None) == {}
