"""Control groups: which processes belong to a host, how much memory it may use, how it is killed.

Membership is read from the v2 hierarchy (mounted alone, or beside v1 controllers); processes leave
it only with us, so killing by membership never hits a recycled process id.
On v1 machines the memory limit is set in the v1 memory hierarchy.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sglocal.hosts.driver import HostError

# v1 hierarchies in which a host gets a group: systemd-nspawn keeps `systemd` in step with v2,
# `memory` and `pids` account for and limit the host.
V1_CONTROLLERS = ("systemd", "memory", "pids")
KILL_DEADLINE_S = 10.0


@dataclass(frozen=True)
class Hierarchies:
    """Where control groups are mounted: v2 always, v1 controllers by name where there are any."""

    unified: Path
    v1: dict[str, Path]

    @property
    def hybrid(self) -> bool:
        return bool(self.v1)

    @property
    def roots(self) -> list[Path]:
        return [self.unified, *self.v1.values()]


def parse_hierarchies(mountinfo: str) -> Hierarchies | None:
    """From /proc/self/mountinfo; None where no v2 hierarchy is mounted.

    Fields: https://www.kernel.org/doc/html/latest/filesystems/proc.html (3.5)
    """
    unified: Path | None = None
    v1: dict[str, Path] = {}
    for line in mountinfo.splitlines():
        head, _, tail = line.partition(" - ")
        mount_point = Path(head.split()[4])
        kind, _, options = (*tail.split(), "", "", "")[:3]
        if kind == "cgroup2":
            unified = unified or mount_point
        elif kind == "cgroup":
            flags = options.split(",")
            for name in V1_CONTROLLERS:
                if name in flags or f"name={name}" in flags:
                    v1.setdefault(name, mount_point)
    return Hierarchies(unified, v1) if unified else None


def hierarchies() -> Hierarchies:
    found = parse_hierarchies(Path("/proc/self/mountinfo").read_text())
    if found is None:
        raise HostError(
            "no cgroup v2 hierarchy is mounted: boot the machine with one (the default)"
        )
    return found


@dataclass(frozen=True)
class Group:
    """One group, by its path below every hierarchy's root (`sgl-…/i-…`)."""

    mounts: Hierarchies
    name: str

    @property
    def unified(self) -> Path:
        return self.mounts.unified / self.name

    def child(self, name: str) -> Group:
        return Group(self.mounts, f"{self.name}/{name}")

    def make(self) -> None:
        """Make the group everywhere, and hand memory and pids down where v2 has them."""
        if not self.mounts.hybrid:
            _delegate(self.mounts.unified, self.name)
        for root in self.mounts.roots:
            (root / self.name).mkdir(parents=True, exist_ok=True)

    def children(self) -> list[Group]:
        """The groups directly below it (of a hub: one a host)."""
        if not self.unified.is_dir():
            return []
        return [self.child(entry.name) for entry in self.unified.iterdir() if entry.is_dir()]

    def procs_files(self) -> list[str]:
        """The files a process writes itself into to join the group."""
        return [str(root / self.name / "cgroup.procs") for root in self.mounts.roots]

    def limit_memory(self, limit: int) -> None:
        """Cap the group's memory, in bytes. Raises HostError where the kernel has no such cap."""
        legacy = self.mounts.v1.get("memory")
        file = (
            legacy / self.name / "memory.limit_in_bytes" if legacy else self.unified / "memory.max"
        )
        try:
            file.write_text(str(limit))
        except OSError as error:
            raise HostError(f"cannot limit memory of {self.name}: {error}") from error

    def pids(self) -> list[int]:
        """Every process of the group and the groups below it."""
        found: set[int] = set()
        for folder in _tree(self.unified):
            found.update(_read_pids(folder / "cgroup.procs"))
        return sorted(found)

    def populated(self) -> bool:
        """Whether any live process is in it or below it; one file, cheap enough to poll."""
        try:
            return "populated 1" in (self.unified / "cgroup.events").read_text()
        except FileNotFoundError:
            return False

    def kill(self) -> None:
        """SIGKILL everything in it and wait until it is empty. Raises HostError after 10 s."""
        deadline = time.monotonic() + KILL_DEADLINE_S
        while self.populated():
            _kill_all(self)
            if time.monotonic() > deadline:
                raise HostError(f"processes of {self.name} do not die: {self.pids()}")
            time.sleep(0.005)

    def kill_member(self, pid: int) -> None:
        """SIGKILL one process, through a handle checked to be a member's (ids are recycled)."""
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            if f"/{self.name}/" in Path(f"/proc/{pid}/cgroup").read_text().replace("\n", "/\n"):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            return
        finally:
            os.close(handle)

    def remove(self) -> None:
        """Remove the (empty) group from every hierarchy, with the groups a guest made below it."""
        for root in self.mounts.roots:
            for folder in reversed(list(_tree(root / self.name))):
                _remove_empty(folder)


def _delegate(root: Path, name: str) -> None:
    """v2: let the groups down to `name` have memory and pids limits."""
    folder = root
    for part in Path(name).parts:
        available = (folder / "cgroup.controllers").read_text().split()
        wanted = [f"+{one}" for one in ("memory", "pids") if one in available]
        if wanted:
            (folder / "cgroup.subtree_control").write_text(" ".join(wanted))
        folder /= part
        folder.mkdir(exist_ok=True)


def _tree(folder: Path) -> Iterator[Path]:
    """The folder and those below it, parents first; nothing where it does not exist."""
    if folder.is_dir():
        for path, _, _ in os.walk(folder):
            yield Path(path)


def _read_pids(file: Path) -> Sequence[int]:
    try:
        return [int(line) for line in file.read_text().split()]
    except (FileNotFoundError, OSError):  # the group went away, or is threaded (EOPNOTSUPP)
        return []


def _kill_all(group: Group) -> None:
    switch = group.unified / "cgroup.kill"
    if switch.exists():  # Linux 5.14: one write kills the whole tree, forks included
        switch.write_text("1")
        return
    for pid in group.pids():
        group.kill_member(pid)


def _remove_empty(folder: Path) -> None:
    """rmdir, retried for a second: a group stays busy until its last process is reaped."""
    for _ in range(100):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise HostError(f"control group {folder} is still in use")
