"""Two container hosts, and what is left of a state folder on the machine."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sglocal.hosts import mounts, namespaces
from sglocal.hosts.cgroups import hierarchies
from sglocal.hosts.containers import ContainerDriver
from sglocal.hosts.driver import HostSpec
from sglocal.hosts.factory import available
from sglocal.hosts.names import hub_name

WHY_NOT = available("containers")
MARKS = [
    pytest.mark.containers,
    pytest.mark.skipif(bool(WHY_NOT), reason="; ".join(WHY_NOT) or "containers work here"),
]

FIRST = HostSpec(
    "i-0000000000000000a",
    "10.40.0.11",
    16,
    {},
    environment={"AWS_ENDPOINT_URL": "http://169.254.169.253:5566", "AWS_REGION": "us-east-1"},
)
SECOND = replace(FIRST, instance_id="i-0000000000000000b", address="10.40.0.12")


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.02)


def leftovers(state_dir: Path) -> list[str]:
    """Everything of a state folder that is still on the machine."""
    hub = hub_name(state_dir)
    groups = [root / hub for root in hierarchies().roots if (root / hub).exists()]
    folders = Path("/run/systemd/nspawn/propagate").glob(f"{hub}*")
    processes = [
        entry.name
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and int(entry.name) != os.getpid() and _mentions(entry, state_dir)
    ]
    found = [*mounts.mounted_below(state_dir), *namespaces.names(hub), *groups, *folders]
    return [*map(str, found), *processes]


def _mentions(entry: Path, state_dir: Path) -> bool:
    try:
        return str(state_dir / "hosts").encode() in (entry / "cmdline").read_bytes()
    except OSError:
        return False


def root_links() -> str:
    return subprocess.check_output(["ip", "-brief", "address"], text=True)


def made_driver(state_dir: Path, cache_dir: Path) -> Iterator[ContainerDriver]:
    driver = ContainerDriver(state_dir, cache_dir)
    driver.close()
    driver.prepare()
    driver.ensure_network("10.40.0.0/16")
    yield driver
    driver.close()
    assert leftovers(state_dir) == []


def run(driver: ContainerDriver, script: str, spec: HostSpec = FIRST) -> str:
    result = driver.run(spec.instance_id, script, timeout_s=20)
    assert result.returncode == 0, result
    return result.stdout.strip()
