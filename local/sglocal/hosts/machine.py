"""One systemd-nspawn container: its command line, its processes, its boot and shutdown."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sglocal.hosts.cgroups import Group
from sglocal.hosts.driver import HostError

SCRIPT = Path(__file__).with_name("nspawn.sh")
BOOT_DEADLINE_S = 30.0
INIT_DEATH_S = 2.0
# Guests see the v2 hierarchy, also beside v1 controllers; their /tmp is on disk, as on EC2's
# Debian; a disk has one user by construction, so no lock files that SIGKILL would leave behind.
# https://systemd.io/ENVIRONMENT/
NSPAWN_ENVIRONMENT = {
    "UNIFIED_CGROUP_HIERARCHY": "1",
    "SYSTEMD_NSPAWN_TMPFS_TMP": "0",
    "SYSTEMD_NSPAWN_LOCK": "0",
}
# systemd-nspawn makes a folder here for each machine and removes it only where /run is a tmpfs.
NSPAWN_FOLDERS = Path("/run/systemd/nspawn/propagate")
# systemd powers off on this signal: https://www.freedesktop.org/software/systemd/man/systemd.html
POWER_OFF = signal.SIGRTMIN + 3


@dataclass(frozen=True)
class Machine:
    """A host's container; holds no state, everything is read from its control group."""

    instance_id: str
    root: Path
    log: Path
    group: Group

    def command(self, namespace: str) -> list[str]:
        """The command line of the loop that runs the container, without its shell."""
        return [
            *self.group.child("loop").procs_files(),
            "--",
            *self.group.child("machine").procs_files(),
            "--",
            *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot"),
            # Unique on the machine (namespaces are): systemd-nspawn keeps folders by this name.
            *("--directory", str(self.root), "--machine", namespace),
            f"--network-namespace-path=/run/netns/{namespace}",
            *("--link-journal=no", "--resolv-conf=off", "--timezone=off", "--console=read-only"),
            # A killed host loses nothing that matters, and package installs are twice as fast.
            "--suppress-sync=yes",
            # For the guest's init: the console shows the journal, services included, and no prompt.
            *("systemd.journald.forward_to_console=1", "systemd.show_status=false"),
            "systemd.mask=console-getty.service",
        ]

    def boot(self, namespace: str) -> subprocess.Popen[bytes]:
        """Start the container and wait until its systemd answers. Raises HostError after 30 s."""
        for part in ("loop", "machine"):
            self.group.child(part).make()
        with self.log.open("ab") as log:
            loop = subprocess.Popen(
                ["/bin/sh", str(SCRIPT), *self.command(namespace)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **NSPAWN_ENVIRONMENT},
            )
        self._await_init(loop)
        return loop

    def _await_init(self, loop: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + BOOT_DEADLINE_S
        while not self.is_up():
            if loop.poll() is not None:
                raise HostError(f"{self.instance_id} ended while booting: {self.tail()}")
            if time.monotonic() > deadline:
                raise HostError(
                    f"{self.instance_id} did not boot within {BOOT_DEADLINE_S:g} s: {self.tail()}"
                )
            time.sleep(0.01)

    def leader(self) -> int | None:
        """The process id of the guest's init, None when it does not run."""
        return leader_of(self.group)

    def is_up(self) -> bool:
        """Whether the guest's systemd has opened the socket that systemctl talks to."""
        leader = self.leader()
        return leader is not None and Path(f"/proc/{leader}/root", "run/systemd/private").exists()

    def power_off(self, deadline_s: float) -> None:
        """Ask the guest to shut down, wait, then kill whatever is left."""
        leader = self.leader()
        deadline = time.monotonic() + deadline_s
        if leader is not None and deadline_s > 0:
            _signal(leader, POWER_OFF)
            while self.group.populated() and time.monotonic() < deadline:
                time.sleep(0.02)
        kill_host(self.group)

    def tail(self) -> str:
        """The end of the console, for an error message."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        shown = " | ".join(text.splitlines()[-5:]) or "(nothing on the console)"
        if "Too many open files" in text or "inotify" in text:
            shown += " (raise fs.inotify.max_user_instances: a host needs about 6)"
        return shown


def forget_machines(pattern: str) -> None:
    """Remove what systemd-nspawn keeps of machines (none running) whose names match."""
    for folder in NSPAWN_FOLDERS.glob(pattern):
        folder.rmdir()


def leader_of(group: Group) -> int | None:
    """The init of the host whose control group this is: process 1 of a namespace one below ours."""
    for pid in group.child("machine").pids():
        if _inner_pids(pid)[1:] == [1]:
            return pid
    return None


def kill_host(group: Group) -> None:
    """SIGKILL a host, its init first: then the processes that wait for those inside reap them.

    Killed all at once, the guest's processes would be left for the machine's own init to reap,
    and the guest's namespace would not end before it does.
    """
    leader = leader_of(group)
    if leader is not None:
        _signal(leader, signal.SIGKILL)
        deadline = time.monotonic() + INIT_DEATH_S
        while group.populated() and time.monotonic() < deadline:
            time.sleep(0.005)
    group.kill()


def kill_hosts(groups: Sequence[Group]) -> None:
    """`kill_host` for many: every init is told to die before the first is waited for."""
    for group in groups:
        if (leader := leader_of(group)) is not None:
            _signal(leader, signal.SIGKILL)
    for group in groups:
        kill_host(group)


def kill_script(group: Group, outermost: int) -> None:
    """SIGKILL what a script started on a host; `outermost`, its parent outside, reaps and ends."""
    deadline = time.monotonic() + INIT_DEATH_S
    while (inner := [pid for pid in group.pids() if pid != outermost]) and (
        time.monotonic() < deadline
    ):
        for pid in inner:
            group.kill_member(pid)
        time.sleep(0.005)
    group.kill()


def enter_command(leader: int, procs_files: Sequence[str]) -> list[str]:
    """A shell prefix that joins control groups, then every namespace of the guest."""
    join = 'while [ "$1" != -- ]; do echo $$ >"$1" || exit 125; shift; done; shift; exec "$@"'
    return [
        *("/bin/sh", "-c", join, "sh", *procs_files, "--"),
        *("nsenter", f"--target={leader}"),
        *("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"),
    ]


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _inner_pids(pid: int) -> list[int]:
    """The process's ids from our namespace inwards (`NSpid` of /proc/<pid>/status)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    for line in status.splitlines():
        if line.startswith("NSpid:"):
            return [int(word) for word in line.split()[1:]]
    return []
