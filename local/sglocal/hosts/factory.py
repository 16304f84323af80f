"""Which hosts this machine can have, and the driver that makes them."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sglocal.hosts.cgroups import parse_hierarchies
from sglocal.hosts.driver import HostDriver, HostError

HostKind = Literal["containers", "processes"]

# Tool -> Debian package.
CONTAINER_TOOLS = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "mount": "mount",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}
CAP_SYS_ADMIN = 21


@dataclass(frozen=True)
class Facts:
    """What decides which hosts a machine can have."""

    system: str
    euid: int
    missing_tools: tuple[str, ...]
    overlay: bool
    cgroup2: bool
    sys_admin: bool


def gather(which: Callable[[str], str | None] = shutil.which) -> Facts:
    """Read the facts from the machine (a few small files, no commands)."""
    if platform.system() != "Linux":
        return Facts(platform.system(), os.geteuid(), (), False, False, False)
    mountinfo = Path("/proc/self/mountinfo").read_text()
    return Facts(
        system="Linux",
        euid=os.geteuid(),
        missing_tools=tuple(tool for tool in CONTAINER_TOOLS if which(tool) is None),
        overlay=_overlay(),
        cgroup2=parse_hierarchies(mountinfo) is not None,
        sys_admin=bool(_effective_capabilities() >> CAP_SYS_ADMIN & 1),
    )


def reasons(kind: HostKind, facts: Facts) -> list[str]:
    """Why hosts of this kind cannot exist here, each with what to do; empty when they can."""
    if facts.system != "Linux":
        return [f"{kind} need Linux, this is {facts.system}"]
    if kind == "processes":
        return []
    found = []
    if facts.euid != 0:
        found.append("containers need root: run as root or use --hosts processes")
    elif not facts.sys_admin:
        found.append("containers need CAP_SYS_ADMIN, which this root lacks: use --hosts processes")
    if facts.missing_tools:
        packages = " ".join(sorted({CONTAINER_TOOLS[tool] for tool in facts.missing_tools}))
        missing = ", ".join(facts.missing_tools)
        found.append(f"missing {missing}: apt-get install --yes {packages}")
    if not facts.overlay:
        found.append("the kernel has no overlay file system: modprobe overlay")
    if not facts.cgroup2:
        found.append("no cgroup v2 hierarchy is mounted: mount -t cgroup2 none /sys/fs/cgroup")
    return found


def available(kind: HostKind) -> list[str]:
    """Why hosts of this kind cannot exist on this machine; empty when they can."""
    return reasons(kind, gather())


def make_driver(kind: HostKind, *, state_dir: Path, cache_dir: Path) -> HostDriver:
    """The driver of a kind; nothing is made before `prepare()`.

    Raises HostError with every reason, on one line, when the kind cannot work here.
    """
    if why := available(kind):
        raise HostError("; ".join(why))
    # Imported late: each kind has needs of its own.
    if kind == "containers":
        from sglocal.hosts.containers import ContainerDriver

        return ContainerDriver(state_dir, cache_dir)
    from sglocal.hosts.processes import ProcessDriver

    return ProcessDriver(state_dir)


def _overlay() -> bool:
    known = Path("/proc/filesystems").read_text()
    modules = Path("/lib/modules") / platform.release() / "kernel/fs/overlayfs"
    return "\toverlay\n" in known or modules.is_dir()


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0
