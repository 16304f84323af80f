"""Remove whatever hosts of a state folder exist, knowing nothing but the folder.

What `close()` ends with, and what repairs a machine after SIGKILL of anything.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from sglocal.hosts import mounts, namespaces
from sglocal.hosts.cgroups import Group, parse_hierarchies
from sglocal.hosts.machine import forget_machines, kill_host
from sglocal.hosts.names import hub_name


def sweep_containers(state_dir: Path) -> None:
    """Kill by control group, unmount, remove namespaces (links go with them), groups and disks."""
    hub = hub_name(state_dir)
    found = parse_hierarchies(Path("/proc/self/mountinfo").read_text())
    group = Group(found, hub) if found else None
    if group is not None:
        for host in group.children():
            kill_host(host)
        group.kill()
    mounts.unmount_below(state_dir / "hosts")
    for name in namespaces.names(hub):
        namespaces.remove(name)
    if group is not None:
        group.remove()
    forget_machines(f"{hub}-*")
    if (state_dir / "hosts").exists():
        shutil.rmtree(state_dir / "hosts")
