"""Process hosts and the stub engine: prod's own file, a stub fleet that scales, faults."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import Sglctl, leftovers, move_listener

pytestmark = pytest.mark.timeout(1200)


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
