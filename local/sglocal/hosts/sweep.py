"""Remove whatever hosts of a state folder exist, knowing nothing but the folder.

What `close()` ends with, and what repairs a machine after SIGKILL of anything.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sglocal.hosts import mounts, namespaces, process_table
from sglocal.hosts.cgroups import Group, parse_hierarchies
from sglocal.hosts.machine import forget_machines, kill_hosts
from sglocal.hosts.names import hub_name
from sglocal.hosts.process_host import Layout, read_identity


def sweep(state_dir: Path) -> None:
    """Processes by session and mark; containers by control group, mount point and name."""
    state_dir = state_dir.resolve()
    _sweep_processes(state_dir)
    if os.geteuid() == 0:
        _sweep_containers(state_dir)
    if (state_dir / "hosts").exists():
        shutil.rmtree(state_dir / "hosts")


def host_processes(layout: Layout) -> list[process_table.Entry]:
    """Every process of one process host."""
    entries = process_table.table()
    found = process_table.marked(layout.folder, entries)
    identity = read_identity(layout)
    if identity is not None:
        found += process_table.session_members(identity, entries, process_table.boot_id())
    return found


def _sweep_processes(state_dir: Path) -> None:
    hosts = state_dir / "hosts"
    for record in hosts.glob("*/host.json"):
        layout = Layout(record.parent)
        process_table.kill_all(lambda layout=layout: host_processes(layout))  # type: ignore[misc]
    # A host whose record was never written, or whose folder is gone already.
    process_table.kill_all(lambda: process_table.marked(hosts, process_table.table()))


def _sweep_containers(state_dir: Path) -> None:
    hub = hub_name(state_dir)
    found = parse_hierarchies(Path("/proc/self/mountinfo").read_text())
    group = Group(found, hub) if found else None
    if group is not None:
        kill_hosts(group.children())
        group.kill()
    mounts.unmount_below(state_dir / "hosts")
    for name in namespaces.names(hub):
        namespaces.remove(name)
    if group is not None:
        group.remove()
    forget_machines(f"{hub}-*")
